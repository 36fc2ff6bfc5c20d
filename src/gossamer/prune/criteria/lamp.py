"""LAMP: magnitudes that can be compared between layers.

Lee, Park, Mo, Ahn, Shin: Layer-adaptive Sparsity for the Magnitude-based Pruning. 2021, equation 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from gossamer.graph import Graph
from gossamer.numerics.importance import lamp
from gossamer.task import Task

from .criterion import Criterion, of_weights


@final
@dataclass(frozen=True)
class LAMP(Criterion):
    """s = w^2 / sum of v^2 over the weights v of the layer with |v| >= |w|. With ``allocate=Global()``.

    ``allocate=LayerAdaptive()`` does the same to the groups' scores by any criterion.
    """

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        del task
        return {name: lamp(weight.abs()) for name, weight in of_weights(graph, weights).items()}
