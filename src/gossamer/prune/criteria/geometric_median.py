"""GeometricMedian: filters that the others can stand in for go first.

He, Liu, Wang, Hu, Yang: Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration. 2019,
equation 6 (FPGM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer.graph import Graph
from gossamer.task import Task

from .criterion import Criterion, of_weights
from .filters import filters_of, shared_by_elements


@final
@dataclass(frozen=True)
class GeometricMedian(Criterion):
    """s_i = sum over the filters j of the layer of ||F_i - F_j||_2, shared evenly by the elements of the filter.

    The filter nearest to the geometric median of the layer's has the least score. For granularities of whole channels;
    of smaller ones all within a filter are alike.
    """

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        del task
        found = {}
        for name, weight in of_weights(graph, weights).items():
            filters, axis = filters_of(graph, name, weight)
            distances = torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)
            found[name] = shared_by_elements(distances, weight, axis)
        return found
