"""By which measure a weight counts. A criterion is one final dataclass that scores every weight; the least go first."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossamer.graph import Graph, effective
from gossamer.task import Task


class Criterion(abc.ABC):
    """Scores every weight of the given layers."""

    @abc.abstractmethod
    def scores(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """For each name in ``weights`` a tensor of the weight's shape; larger is worth more. Mutates nothing."""


@dataclass(frozen=True)
class Magnitude(Criterion):
    """s = abs(w) (Han et al. 2015, "Learning both Weights and Connections")."""

    def scores(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        del task
        with torch.no_grad():
            return {name: effective(graph, name).abs() for name in weights}
