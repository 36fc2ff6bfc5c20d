"""OBD: optimal brain damage, the second derivative along each weight.

LeCun, Denker, Solla: Optimal Brain Damage. 1990, equation 5. The diagonal is estimated as in Bekas, Kokiopoulou, Saad:
An Estimator for the Diagonal of a Matrix. 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph
from gossamer.task import Task

from .sampling import Probe, Sampled


@final
@dataclass(frozen=True)
class OBD(Sampled):
    """s = h w^2 / 2, with h the diagonal of the loss's Hessian.

    h = mean of v (H v) over ``probes`` random vectors v of +1 and -1, one product with the Hessian each, for every
    batch: without bias, exact where the Hessian is diagonal.
    """

    probes: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.probes < 1:
            raise RecipeError(f"{self}: give 1 probe or more")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        diagonal = self.mean(graph, task, weights, self._diagonal, order=2)
        leaves = Probe.of(graph, weights).leaves
        return {name: diagonal[name] * leaf.detach().square() / 2 for name, leaf in leaves.items()}

    def _diagonal(self, probe: Probe, loss: Tensor) -> dict[str, Tensor]:
        gradients = probe.gradients(loss, create_graph=True)
        total = {name: torch.zeros_like(leaf) for name, leaf in probe.leaves.items()}
        for _ in range(self.probes):
            signs = {n: torch.randint_like(leaf, 2) * 2 - 1 for n, leaf in probe.leaves.items()}
            for name, bent in probe.along(gradients, signs).items():
                total[name] += signs[name] * bent.detach() / self.probes
        return total
