"""PowersOfTwo: weights that are powers of two, all at once or a share at a time while the rest trains on.

Zhou, Yao, Guo, Xu, Chen: Incremental Network Quantization: Towards Lossless CNNs with Low-Precision Weights. 2017,
equations 1 to 4 and section 2.2. Finer logarithmic steps: Miyashita, Lee, Murmann: Convolutional Neural Networks using
Logarithmic Data Representation. 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Layer, WeightTransform, note, transforms
from gossamer.task import Task
from gossamer.weights import Codebook, Dense, Sparse, Weight, decode, sparsify

from .levels import FewLevels


class FrozenLevels(WeightTransform):
    """``levels[assignment - 1]`` where the assignment is not 0; what has none yet trains on. Zero stays zero.

    ``assignment``: int32, of the weight's shape. ``levels``: floating, (n,); fixed.
    """

    assignment: Tensor
    levels: Tensor

    def __init__(self, assignment: Tensor, levels: Tensor) -> None:
        super().__init__()
        self.register_buffer("assignment", assignment.int())
        self.register_buffer("levels", levels)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, frozen in part."""
        table = torch.cat([self.levels.new_zeros(1), self.levels])
        values = table.index_select(0, self.assignment.flatten()).view(weight.shape)
        return torch.where((self.assignment != 0) & (weight != 0), values, weight)

    @torch.no_grad()
    def represent(self, weight: Weight) -> Weight:
        """A codebook once every weight is frozen; before that, the weights as they are."""
        values = torch.from_numpy(np.array(decode(weight)))
        frozen = bool(((self.assignment.cpu() != 0) | (values == 0)).all())
        shipped = type(self)(self.assignment.cpu(), self.levels.cpu())(values).numpy()
        if not frozen:
            return sparsify(Dense(shipped)) if isinstance(weight, Sparse) else Dense(shipped)
        if isinstance(weight, Sparse):
            kept = sparsify(Dense(shipped))
            return Sparse(kept.shape, kept.positions, _codebook(decode(kept.values)))
        return _codebook(shipped)

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        return {"assignment": self.assignment, "levels": self.levels}


def _codebook(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Codebook:
    table, indices = np.unique(values, return_inverse=True)
    return Codebook.of(indices.reshape(values.shape), table)


def power_levels(largest: float, bits: int, per_octave: int) -> Tensor:
    """0 and the 2^(bits - 1) values +-2^(n / per_octave), n consecutive, the greatest nearest to ``largest``; float32.

    In increasing order. With ``bits=5, per_octave=1`` equation 1 of the paper: n from n1 down to n1 + 1 - 2^(b-1) / 2.
    """
    step = 2.0 ** (1 / per_octave)
    # Levels change over at the middle between neighbours, as in equation 4.
    top = math.floor(math.log(2 * largest / (1 + 1 / step), step) + 1e-9)
    positive = torch.tensor([step ** (top - i) for i in reversed(range(2 ** (bits - 2)))])
    return torch.cat([-positive.flip(0), torch.zeros(1), positive]).float()


def nearest_level(weight: Tensor, levels: Tensor) -> Tensor:
    """The index of the level nearest to each element, of its shape; ``levels`` increasing."""
    return torch.bucketize(weight.contiguous(), (levels[1:] + levels[:-1]) / 2)


@final
@dataclass(frozen=True)
class PowersOfTwo(FewLevels):
    """Freeze a ``share`` of a layer's weights, the largest ones, to powers of two of ``bits`` bits (2 to 8), or zero.

    ``Repeat(4, [PowersOfTwo(), Finetune(epochs=2)], ramp=Halving())`` is incremental network quantization: half of the
    weights, then half of the rest, the others making up for them; in the end all are frozen. ``per_octave``: so many
    levels between a power of two and the next (2: the square roots, too). The rest as in :class:`FewLevels`.
    """

    bits: int = 5
    share: float = 1.0
    per_octave: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.bits <= 8 or not 0 <= self.share <= 1 or not 1 <= self.per_octave <= 16:
            raise RecipeError(
                f"PowersOfTwo(bits={self.bits}, share={self.share}, per_octave={self.per_octave}): give 2 to 8 bits, a "
                "share from 0 to 1 and 1 to 16 levels for each octave"
            )

    def at(self, strength: float) -> PowersOfTwo:
        """See :class:`Pass`."""
        return replace(self, share=self.share * strength)

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` with that share of its weights frozen."""
        del task
        chosen = self._chosen(graph)
        if self.share == 0:
            note("PowersOfTwo", "nothing to do: the share is 0")
            chosen = []
        frozen = {layer.weight: _frozen_already(graph, layer.weight) for layer in chosen}
        return self._transformed(
            graph,
            chosen,
            lambda layer, weight: self._freeze(layer, weight, frozen[layer.weight]),
        )

    def _freeze(self, layer: Layer, weight: Tensor, before: FrozenLevels | None) -> FrozenLevels:
        del layer
        if before is None:
            levels = power_levels(float(weight.abs().max()), self.bits, self.per_octave).to(weight.device)
            assignment = torch.zeros(weight.shape, dtype=torch.int32, device=weight.device)
        else:
            levels, assignment = before.levels, before.assignment.clone()
        alive = weight != 0
        count = round(self.share * int(alive.sum())) - int(((assignment != 0) & alive).sum())
        free = torch.where(alive & (assignment == 0), weight.abs(), -1.0).flatten()
        largest = free.topk(min(max(count, 0), int((free > 0).sum()))).indices
        assignment.view(-1)[largest] = nearest_level(weight.flatten()[largest], levels).int() + 1
        return FrozenLevels(assignment, levels)


def _frozen_already(graph: Graph, weight: str) -> FrozenLevels | None:
    present = transforms(graph, weight)
    return present[-1] if present and isinstance(present[-1], FrozenLevels) else None
