"""Magnitude: small weights go first.

Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks. 2015 (elements). Li, Kadav,
Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets. 2017 (filters, L1).
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

from .criterion import Criterion, of_weights


@final
@dataclass(frozen=True)
class Magnitude(Criterion):
    """s = ||w||_norm over the group: the sum of |w| (1), the root of the sum of squares (2), the largest |w| (inf).

    Of single elements they are all |w|. Raises RecipeError for another norm.
    """

    norm: float = 1.0

    def __post_init__(self) -> None:
        if self.norm not in (1.0, 2.0, float("inf")):
            raise RecipeError(f"{self}: the norm is 1, 2 or infinity")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        del task
        return {name: weight.abs() for name, weight in of_weights(graph, weights).items()}

    def pool(self, elements: Tensor) -> Tensor:
        """See :class:`Criterion`."""
        norms: Tensor = torch.linalg.vector_norm(elements, self.norm, dim=1)
        return norms
