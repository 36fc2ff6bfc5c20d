"""SNIP: connection sensitivity, meant for a network that is not trained yet.

Lee, Ajanthan, Torr: SNIP: Single-shot Network Pruning based on Connection Sensitivity. 2019, equations 4 to 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from gossamer.graph import Graph
from gossamer.task import Task

from .sampling import Probe, Sampled


@final
@dataclass(frozen=True)
class SNIP(Sampled):
    """s = |g w| / sum over all weights of |g w|, g the gradient of the loss over all ``batches`` together.

    In train mode, since the running statistics of a batch norm mean nothing yet. With ``allocate=Global()``.
    """

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        gradients = self.mean(graph, task, weights, Probe.gradients, training=True)
        leaves = Probe.of(graph, weights).leaves
        products = {name: (gradients[name] * leaf.detach()).abs() for name, leaf in leaves.items()}
        total = sum(float(product.double().sum()) for product in products.values())
        return {name: product / (total or 1.0) for name, product in products.items()}
