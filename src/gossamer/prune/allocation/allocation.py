"""What an allocation is: from scores and amounts to the groups that are kept."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gossamer.graph import Graph, note
from gossamer.task import Task

from ..granularity import Groups

Kept = dict[str, Tensor]  # by name of the groups, bool (count,)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What there is to choose from.

    ``scores``: by name of the groups, float (count,); minus infinity for what is removed already, plus infinity for
    what must stay. ``amounts``: by the same names. ``own``: the names whose amount was given for them alone.
    ``least``: the share of its groups that a layer keeps where a threshold over several layers would take more.
    ``apply``: the graph without what is not kept, for allocations that measure.
    """

    graph: Graph
    task: Task
    groups: Mapping[str, Groups]
    scores: Mapping[str, Tensor]
    amounts: Mapping[str, float]
    own: frozenset[str]
    least: float
    apply: Callable[[Kept], Graph]

    @property
    def shared(self) -> list[str]:
        """The names that have the pass's amount, not one of their own."""
        return [name for name in self.scores if name not in self.own]

    def weights(self, name: str) -> int:
        """How many weights the groups called ``name`` have."""
        return self.groups[name].count * self.groups[name].size


class Allocation(abc.ABC):
    """Decides which groups of each layer are kept."""

    @abc.abstractmethod
    def keep(self, candidates: Candidates) -> Kept:
        """Which groups are kept, bool of the shape of the scores."""

    def require(self, task: Task) -> None:
        """Raise TaskError where ``task`` lacks what is measured."""
        del task

    def check(self, amount: float) -> str | None:
        """What is wrong with ``amount``, or None."""
        return None if 0.0 <= amount < 1.0 else "an amount is the share to remove: at least 0 and below 1"


def keep_largest(scores: Tensor, amount: float) -> Tensor:
    """Keep all but ``round(amount * n)`` of the scores, one at least; equal scores fall in order of position."""
    removed = min(round(amount * len(scores)), len(scores) - 1, int((scores < torch.inf).sum()))
    kept = torch.ones_like(scores, dtype=torch.bool)
    kept[scores.argsort(stable=True)[:removed]] = False
    return kept


def keep_each(candidates: Candidates, amounts: Mapping[str, float]) -> Kept:
    """:func:`keep_largest` in each layer by itself; ``amounts`` for those that have none of their own."""
    return {
        name: keep_largest(scores, candidates.amounts[name] if name in candidates.own else amounts[name])
        for name, scores in candidates.scores.items()
    }


def keep_together(candidates: Candidates, scores: Mapping[str, Tensor], amount: float) -> Kept:
    """One threshold for all of ``scores``, so that the share ``amount`` of the weights in them is removed.

    No layer falls below ``candidates.least``: what it keeps is taken from the others, and noted.
    """
    pooled = dict(scores)
    budget = amount * sum(candidates.weights(name) for name in pooled)
    kept: Kept = {}
    while pooled:
        chosen = _below_one_threshold(candidates, pooled, budget)
        spared = [n for n in pooled if int(chosen[n].sum()) < _fewest(candidates, n)]
        if not spared:
            return {name: {**kept, **chosen}[name] for name in scores}
        for name in spared:
            values, fewest = pooled.pop(name), _fewest(candidates, name)
            kept[name] = keep_largest(values, 1 - fewest / len(values))
            budget -= (len(values) - fewest) * candidates.groups[name].size
            share = 1 - float(chosen[name].double().mean())
            note(
                name, f"keeps {fewest} of {len(values)} groups, where the threshold would remove {share:.2%}"
            )
    return {name: kept[name] for name in scores}


def _fewest(candidates: Candidates, name: str) -> int:
    return max(1, math.ceil(candidates.least * len(candidates.scores[name])))


def _below_one_threshold(candidates: Candidates, scores: Mapping[str, Tensor], budget: float) -> Kept:
    together = torch.cat(list(scores.values()))
    sizes = torch.cat([torch.full((len(s),), candidates.groups[n].size) for n, s in scores.items()])
    order = together.argsort(stable=True)
    taken = sizes.to(order.device)[order].cumsum(0)
    removed = order[(taken <= round(budget)) & (together[order] < torch.inf)]
    kept = torch.ones_like(together, dtype=torch.bool)
    kept[removed] = False
    return dict(zip(scores, torch.split(kept, [len(s) for s in scores.values()]), strict=True))
