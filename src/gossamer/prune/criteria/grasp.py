"""GraSP: keep the flow of the gradient through a network that is not trained yet.

Wang, Zhang, Grosse: Picking Winning Tickets Before Training by Preserving Gradient Flow. 2020, equation 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer._nested import batch_size, map_leaves
from gossamer.errors import RecipeError
from gossamer.graph import Graph
from gossamer.task import Task, loss_of

from .sampling import Probe, Sampled, detached


@final
@dataclass(frozen=True)
class GraSP(Sampled):
    """s = w (H g): how much the squared norm of the gradient falls, to first order, when w is removed.

    The paper's S(-w) = -w (H g) with the sign turned, so that here too the least go first. g and H are of the loss of
    all ``batches``, on outputs divided by ``temperature`` (200 in the paper); train mode. The data is read twice, for g
    and for H g. With ``allocate=Global()``.
    """

    temperature: float = 200.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise RecipeError(f"{self}: the temperature is above 0")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        direction: dict[str, Tensor] | None = None
        for _ in range(2):  # g, then H g
            direction = self._mean(graph, task, weights, direction)
        assert direction is not None
        leaves = Probe.of(graph, weights).leaves
        return {name: leaf.detach() * direction[name] for name, leaf in leaves.items()}

    def _mean(
        self, graph: Graph, task: Task, weights: Sequence[str], direction: dict[str, Tensor] | None
    ) -> dict[str, Tensor]:
        """The gradient, or the Hessian times ``direction``, averaged over all examples."""
        probe, order = Probe.of(graph, weights, training=True), 1 if direction is None else 2
        total = {name: torch.zeros_like(leaf) for name, leaf in detached(probe.leaves).items()}
        examples = 0
        with self.sample(graph, task) as batches:
            for inputs, targets in batches:
                outputs = map_leaves(lambda leaf: leaf / self.temperature, probe.outputs(inputs, order))
                loss = loss_of(task, outputs, targets)
                found = probe.gradients(loss, create_graph=order == 2)
                if direction is not None:
                    found = probe.along(found, direction)
                size = batch_size(inputs)
                for name, value in found.items():
                    total[name] += size * value.detach()
                examples += size
        return {name: value / examples for name, value in total.items()}
