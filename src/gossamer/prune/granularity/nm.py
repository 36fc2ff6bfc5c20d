"""N:M: of every M neighbouring inputs of an output at most M - N are removed.

Zhou et al.: Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch. 2021. Mishra et al.: Accelerating
Sparse Deep Neural Networks. 2021 (2:4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import pad

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Layer, note

from .granularity import Granularity, Groups, LayerGroups


@final
@dataclass(frozen=True)
class NM(Granularity):
    """The ``n`` best of every ``m`` neighbouring inputs stay; of the others the amount says how many go.

    ``Prune(1 - n / m, NM(n, m))`` removes them all, which is the pattern N:M; a smaller amount is a step on the way
    there. Inputs are counted at each kernel position by itself. Where ``m`` does not divide them, the last few keep
    ``n`` too. Raises RecipeError unless 1 <= n < m.
    """

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.n < self.m:
            raise RecipeError(f"{self}: keep n of m with 1 <= n < m")

    def check(self, amount: float) -> str | None:
        """See :class:`Granularity`."""
        most = 1 - self.n / self.m
        return (
            None if amount <= most + 1e-9 else f"{self} removes at most {most:g} (1 - n / m) of the weights"
        )

    def groups(self, graph: Graph, layers: Sequence[Layer]) -> list[Groups]:
        """See :class:`Granularity`."""
        del graph
        found: list[Groups] = []
        for layer in layers:
            if layer.output_axis is None or layer.input_axis is None:
                note(layer.weight, f"{self} leaves it alone: its outputs or inputs lie along no single axis")
                continue
            if (inputs := layer.shape[layer.input_axis]) % self.m:
                note(
                    layer.weight,
                    f"{self}: {inputs} inputs are no multiple of {self.m}; the rest keep {self.n}",
                )
            found.append(_Runs(layer, self))
        return found


class _Runs(LayerGroups):
    """Elements, in the order (outputs, positions, inputs)."""

    size = 1

    def __init__(self, layer: Layer, pattern: NM) -> None:
        super().__init__(layer)
        self._pattern = pattern
        self.count = 1
        for length in layer.shape:
            self.count *= length

    def gather(self, values: Mapping[str, Tensor]) -> Tensor:
        return self.matrix(values[self.name]).transpose(1, 2).reshape(-1, 1)

    def spread(self, kept: Tensor) -> dict[str, Tensor]:
        return {self.name: self.restored(kept.view(self.outputs, -1, self.inputs).transpose(1, 2))}

    def protected(self, scores: Tensor) -> Tensor:
        n, m = self._pattern.n, self._pattern.m
        rows = scores.view(-1, self.inputs)
        runs = pad(rows, (0, -self.inputs % m), value=-torch.inf).view(len(rows), -1, m)
        best = torch.zeros_like(runs, dtype=torch.bool)
        best.scatter_(2, runs.argsort(dim=2, descending=True, stable=True)[..., :n], value=True)
        return best.view(len(rows), -1)[:, : self.inputs].reshape(-1) & (scores > -torch.inf)
