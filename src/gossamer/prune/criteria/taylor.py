"""Taylor: how much the loss changes when a weight is set to zero, by its expansion.

Molchanov, Tyree, Karras, Aila, Kautz: Pruning Convolutional Neural Networks for Resource Efficient Inference. 2017.
Molchanov, Mallya, Tyree, Frosio, Kautz: Importance Estimation for Neural Network Pruning. 2019, equations 4 to 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph
from gossamer.task import Task

from .sampling import Probe, Sampled, detached


@final
@dataclass(frozen=True)
class Taylor(Sampled):
    """First order: s = (g w)^2. Second order: s = (g w - w (H w) / 2)^2.

    g and H are gradient and Hessian of the loss of a batch; the squares are averaged over the batches, and summed over
    a group. The second order takes one product with the Hessian for each batch.
    """

    order: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2):
            raise RecipeError(f"{self}: the order is 1 or 2")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        return self.mean(graph, task, weights, self._squares, order=self.order)

    def _squares(self, probe: Probe, loss: Tensor) -> dict[str, Tensor]:
        gradients = probe.gradients(loss, create_graph=self.order == 2)
        weights = detached(probe.leaves)
        change = {name: gradients[name].detach() * weights[name] for name in weights}
        if self.order == 2:
            bent = probe.along(gradients, weights)
            change = {name: change[name] - weights[name] * bent[name] / 2 for name in weights}
        return {name: value.square() for name, value in change.items()}
