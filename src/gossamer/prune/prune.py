"""Prune: remove weights, by a criterion, at a granularity, allocated over the layers.

Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, 2015. The four parts are
those of Menghani: Efficient Deep Learning, 2021, algorithm 1.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import (
    Graph,
    Layer,
    Pass,
    add_transform,
    effective,
    layers,
    note,
    replace_transform,
    transforms,
)
from gossamer.graph.select import Choice, choose
from gossamer.task import Task

from .allocation import Allocation, Candidates, Curves, Sensitivity, Uniform
from .allocation.allocation import Kept
from .criteria import Criterion, Magnitude
from .granularity import Elements, Granularity, Groups
from .mask import Mask


@dataclass(frozen=True)
class Prune(Pass):
    """Set ``amount`` of the weights to zero, for good, or remove that share of the channels, heads or blocks.

    ``amount``: the share of weights that are zero afterwards (what was zero before counts), in [0, 1), or of the units
    that are gone (what was removed by earlier passes counts); the allocation may give it another meaning (StdThreshold:
    the quality parameter; Budget: the share of a resource). ``by``: what says which are worth least. ``overrides``: an
    amount of its own for every weight that a pattern matches ("fc3", "layer1.*"; the first pattern that matches
    counts), 0 to leave it alone; of layers whose channels go together the least amount counts. ``least``: the share of
    its groups that every layer keeps under a threshold over several layers; one group always stays. Biases and norms
    are never pruned by themselves. Raises RecipeError where an amount is out of range or a pattern matches no layer.
    """

    amount: float
    granularity: Granularity = Elements()
    by: Criterion = Magnitude()
    allocate: Allocation = Uniform()
    overrides: Mapping[str, float] = field(default_factory=dict)
    least: float = 0.002

    def __post_init__(self) -> None:
        for place, amount in [("amount", self.amount), *self.overrides.items()]:
            problem = self.allocate.check(amount) or self.granularity.check(amount)
            if problem:
                raise RecipeError(f"Prune: {place} is {amount}; {problem}")
        if not 0 <= self.least <= 1:
            raise RecipeError(f"Prune: least is {self.least}; it is a share, 0 to 1")

    def at(self, strength: float) -> Prune:
        """This pass with all amounts times ``strength``."""
        overrides = {pattern: amount * strength for pattern, amount in self.overrides.items()}
        return dataclasses.replace(self, amount=self.amount * strength, overrides=overrides)

    def check(self, graph: Graph, task: Task) -> None:
        """Every pattern matches a layer, and the task has what the criterion and the allocation need."""
        self.amounts(layers(graph))
        self.by.check(graph, task)
        self.allocate.require(task)

    def amounts(self, found: Sequence[Layer]) -> Choice[float]:
        """The amount of each of these layers, by weight."""
        return choose(found, self.amount, self.overrides, "Prune")

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` whose weights carry a Mask, or are smaller where the granularity removes."""
        groups, kept = self.decide(graph, task)
        pruned = copy.deepcopy(graph)
        if not groups:
            note(
                "Prune", f"nothing to do: every amount is zero, or {self.granularity} finds nothing to remove"
            )
            return pruned
        self.by.compensate(pruned, task, masks_of(groups, kept))
        return self.without(pruned, groups, kept)

    def without(self, graph: Graph, groups: Sequence[Groups], kept: Kept, quietly: bool = False) -> Graph:
        """``graph``, which may be changed, without what is not kept."""
        smaller = self.granularity.removed(graph, groups, kept)
        if smaller is not None:
            return smaller
        for name, mask in masks_of(groups, kept).items():
            apply_mask(graph, name, mask, quietly)
        return graph

    def decide(self, graph: Graph, task: Task) -> tuple[list[Groups], Kept]:
        """The groups of the layers that have an amount, and which of them are kept; changes nothing."""
        groups, candidates = self._candidates(graph, task)
        if not groups:
            return [], {}
        kept = self.allocate.keep(candidates)
        return groups, {
            each.name: each.settled(kept[each.name], candidates.scores[each.name]) for each in groups
        }

    def sensitivity(self, graph: Graph, task: Task) -> Curves:
        """How much the validation loss grows with the share of one layer that goes, layer by layer; changes nothing.

        ``gossamer.report.write_sensitivity`` plots it. The shares are those of ``allocate`` where it is a
        :class:`Sensitivity`, whose cache is used; the layers are those that have an amount. Raises TaskError for a
        task without validation batches and a loss.
        """
        measured = self.allocate if isinstance(self.allocate, Sensitivity) else Sensitivity()
        return measured.curves(self._candidates(graph, task)[1])

    def _candidates(self, graph: Graph, task: Task) -> tuple[list[Groups], Candidates]:
        found = layers(graph)
        chosen = self.amounts(found)
        pruned = [layer for layer in found if chosen.values.get(layer.weight, 0) > 0]
        groups = self.granularity.groups(graph, pruned) if pruned else []
        amounts = {each.name: min(chosen.values.get(n, self.amount) for n in each.named) for each in groups}
        own = frozenset(each.name for each in groups if chosen.own.intersection(each.named))
        scores = self._scores(graph, task, groups) if groups else {}

        def settled(kept: Kept) -> Kept:
            return {each.name: each.settled(kept[each.name], scores[each.name]) for each in groups}

        def apply(kept: Kept) -> Graph:
            return self.without(copy.deepcopy(graph), groups, settled(kept), quietly=True)

        named = {each.name: each for each in groups}
        return groups, Candidates(graph, task, named, scores, amounts, own, self.least, apply)

    def _scores(self, graph: Graph, task: Task, groups: Sequence[Groups]) -> dict[str, Tensor]:
        scores = self.by.scores(graph, task, groups)
        for each in groups:
            if not bool(scores[each.name].isfinite().all()):
                raise RecipeError(
                    f"Prune: {self.by} gives scores for {each.name} that are NaN or infinite; look for a loss that is, "
                    "or choose another criterion"
                )
            alive = each.gather({name: effective(graph, name) != 0 for name in each.weights})
            score = scores[each.name].masked_fill(~alive.any(1), -torch.inf)
            scores[each.name] = score.masked_fill(each.protected(score), torch.inf)
        return scores


def masks_of(groups: Sequence[Groups], kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Which weights are kept, bool by weight: those that every group they are in keeps."""
    masks: dict[str, Tensor] = {}
    for each in groups:
        for name, mask in each.spread(kept[each.name]).items():
            masks[name] = masks[name] & mask if name in masks else mask
    return masks


def apply_mask(graph: Graph, name: str, kept: Tensor, quietly: bool = False) -> None:
    """Put a mask on the weight, or narrow the one that it ends in, in place; report what did not change."""
    before = effective(graph, name)
    if not bool((before != 0)[~kept].any()):
        zeros = int((before == 0).sum())
        if not quietly:
            note(name, f"not pruned further: {zeros} of {before.numel()} weights are zero already")
        return
    present = transforms(graph, name)
    if present and isinstance(present[-1], Mask):
        replace_transform(graph, name, len(present) - 1, Mask(present[-1].kept & kept))
    else:
        add_transform(graph, name, Mask(kept))
