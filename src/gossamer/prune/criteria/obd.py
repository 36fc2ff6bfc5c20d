"""OBD: optimal brain damage, the second derivative along each weight.

LeCun, Denker, Solla: Optimal Brain Damage. 1990, equation 5, with the Levenberg-Marquardt approximation of its section
2.2, which is never negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph
from gossamer.task import Task

from .curvature import gauss_newton
from .sampling import Probe, Sampled


@final
@dataclass(frozen=True)
class OBD(Sampled):
    """s = h w^2 / 2, with h the diagonal of the Gauss-Newton matrix J^T H J (see :func:`.curvature.gauss_newton`).

    h = mean of the squares of ``probes`` random vectors, one backward pass each, for every batch. Its relative
    deviation is about sqrt(2 / (probes x batches)).
    """

    probes: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.probes < 1:
            raise RecipeError(f"{self}: give 1 probe or more")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""

        def diagonal(probe: Probe, inputs: Any, targets: Any) -> dict[str, Tensor]:
            total = {name: torch.zeros_like(leaf) for name, leaf in probe.leaves.items()}
            for gradients in gauss_newton(probe, task, inputs, targets, self.probes):
                for name, gradient in gradients.items():
                    total[name] += gradient.square() / self.probes
            return total

        found = self.average(graph, task, weights, diagonal)
        values = Probe.of(graph, weights).leaves
        return {name: found[name] * leaf.detach().square() / 2 for name, leaf in values.items()}
