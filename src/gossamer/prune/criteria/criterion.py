"""What a criterion is: by which measure a weight counts. One final dataclass a file; the least go first."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

from torch import Tensor

from gossamer.graph import Graph, effective
from gossamer.task import Task

from ..granularity import Groups


class Criterion(abc.ABC):
    """Scores groups of weights; by default from scores of their elements."""

    @abc.abstractmethod
    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """For each name in ``weights`` a tensor of the weight's shape; larger is worth more. Mutates nothing."""

    def pool(self, elements: Tensor) -> Tensor:
        """Scores of groups, (count,), from those of their elements, (count, size): by default the sum."""
        return elements.sum(1)

    def scores(self, graph: Graph, task: Task, groups: Sequence[Groups]) -> dict[str, Tensor]:
        """By name of the groups, (count,): what each is worth. Mutates nothing."""
        weights = tuple(dict.fromkeys(name for each in groups for name in each.weights))
        elements = self.elements(graph, task, weights)
        return {each.name: self.pool(each.gather(elements)) for each in groups}

    def compensate(self, graph: Graph, task: Task, kept: Mapping[str, Tensor]) -> None:
        """Change, in place, the weights that stay in ``graph`` for those that go; by default nothing.

        ``kept``: which elements stay, bool by weight; they are masked afterwards.
        """
        del graph, task, kept

    def check(self, graph: Graph, task: Task) -> None:
        """Raise TaskError or RecipeError where this criterion cannot work."""
        del graph, task


def of_weights(graph: Graph, weights: Sequence[str]) -> dict[str, Tensor]:
    """The weights by name, their transforms applied, detached."""
    return {name: effective(graph, name) for name in weights}
