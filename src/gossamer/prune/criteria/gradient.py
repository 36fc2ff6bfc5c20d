"""GradientTimesWeight: the share of the loss that passes through a weight.

Mozer, Smolensky: Skeletonization: A Technique for Trimming the Fat from a Network via Relevance Assessment. 1989.
Michel, Levy, Neubig: Are Sixteen Heads Really Better than One? 2019, equation 2 (the sum over a head's weights).
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
class GradientTimesWeight(Sampled):
    """s = mean over the batches of |g w|, g the gradient of the batch's loss; summed over a group."""

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        return self.mean(graph, task, weights, _products)


def _products(probe: Probe, loss: Tensor) -> dict[str, Tensor]:
    gradients = probe.gradients(loss)
    return {name: (gradients[name] * leaf.detach()).abs() for name, leaf in probe.leaves.items()}
