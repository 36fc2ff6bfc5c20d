"""Budget: as much from everywhere as brings a resource down to a share: MACs, parameters, bytes, measured latency.

Yang, Howard, Chen, Zhang, Go, Sandler, Sze, Adam: NetAdapt: Platform-Aware Neural Network Adaptation for Mobile
Applications. 2018 (a budget by measurements instead of proxies).
"""

from __future__ import annotations

import abc
import dataclasses
from dataclasses import dataclass
from typing import final

from gossamer.errors import RecipeError
from gossamer.graph import Graph, cost, note
from gossamer.task import Task

from .allocation import Allocation, Candidates, Kept
from .shared import Global


class Resource(abc.ABC):
    """What a network spends. ``gossamer.measure.resources`` has those measured on the file: Bytes, EngineLatency."""

    @abc.abstractmethod
    def spent(self, graph: Graph, task: Task) -> float:
        """By ``graph`` as it is, zeros skipped."""

    def whole(self, graph: Graph, task: Task) -> float:
        """What shares are of: by ``graph`` without its zeros skipped, where that makes a difference."""
        return self.spent(graph, task)


@final
@dataclass(frozen=True)
class Macs(Resource):
    """Multiply-accumulates for one example."""

    def spent(self, graph: Graph, task: Task) -> float:
        """Those that meet a weight that is not zero."""
        del task
        return cost(graph).executed_macs

    def whole(self, graph: Graph, task: Task) -> float:
        """All of them."""
        del task
        return cost(graph).macs


@final
@dataclass(frozen=True)
class Parameters(Resource):
    """Parameters, biases and norms counted too."""

    def spent(self, graph: Graph, task: Task) -> float:
        """Those that are not zero."""
        del task
        return cost(graph).nonzero

    def whole(self, graph: Graph, task: Task) -> float:
        """All of them."""
        del task
        return cost(graph).parameters


@final
@dataclass(frozen=True)
class Budget(Allocation):
    """The least pruning by ``within`` that leaves the share 1 - amount of the resource ``of``.

    Shares are of the network as it comes in: where groups are removed, not masked, of what earlier passes left. Found
    by bisection: ``steps`` networks are pruned and their resource counted or measured. Where even the strongest pruning
    does not reach the budget, that is what is done, and noted.
    """

    of: Resource = Macs()
    within: Allocation = Global()
    steps: int = 12

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise RecipeError(f"{self}: steps is 1 or more")

    def require(self, task: Task) -> None:
        """What ``within`` needs."""
        self.within.require(task)

    def keep(self, candidates: Candidates) -> Kept:
        """See :class:`Allocation`."""
        shared = candidates.shared
        if not shared:
            return self.within.keep(candidates)
        graph, task = candidates.graph, candidates.task
        target = (1 - candidates.amounts[shared[0]]) * self.of.whole(graph, task)
        low, high = 0.0, 1.0
        kept = self._at(candidates, 1 - 2.0**-self.steps)
        spent = self.of.spent(candidates.apply(kept), task)
        if spent > target:
            note(
                "Budget",
                f"{self.of} stays at {spent:.6g}, above the budget of {target:.6g}, with all that may go gone",
            )
            return kept
        for _ in range(self.steps):
            middle = (low + high) / 2
            trial = self._at(candidates, middle)
            used = self.of.spent(candidates.apply(trial), task)
            if used > target:
                low = middle
            else:
                high, kept, spent = middle, trial, used
        note(
            "Budget",
            f"{self.of}: {spent:.6g} of at most {target:.6g}, where {high:.2%} was asked of {self.within}",
        )
        return kept

    def _at(self, candidates: Candidates, share: float) -> Kept:
        amounts = {n: a if n in candidates.own else share for n, a in candidates.amounts.items()}
        return self.within.keep(dataclasses.replace(candidates, amounts=amounts))
