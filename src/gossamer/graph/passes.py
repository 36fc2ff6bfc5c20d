"""What every pass is: one final frozen dataclass, one verb."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gossamer.graph.module import Graph
    from gossamer.task import Task


class Pass(abc.ABC):
    """``(graph, task) -> graph``. The input graph is never mutated; strength zero is the identity.

    What a pass did not do (a layer skipped, nothing changed) it says through
    :func:`gossamer.graph.journal.note`.
    """

    @abc.abstractmethod
    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A new graph."""

    def check(self, graph: Graph, task: Task) -> None:
        """Raise RecipeError or TaskError where this pass cannot work; asked of a whole recipe before it runs."""
        del graph, task

    def at(self, strength: float) -> Pass:
        """This pass at a share of its full strength, 0 < strength <= 1: how ``Repeat`` ramps. By default
        itself.
        """
        del strength
        return self
