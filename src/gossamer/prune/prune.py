"""Prune: remove weights, by a criterion, at a granularity, allocated over the layers.

Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, 2015.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import (
    Graph,
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

from .allocation import Allocation, Uniform
from .criteria import Criterion, Magnitude
from .granularity import Elements, Granularity
from .mask import Mask


@dataclass(frozen=True)
class Prune(Pass):
    """Set ``amount`` of the weights to zero, for good.

    ``amount``: with Uniform and Global the share of weights that are zero afterwards (what was zero before counts), in
    [0, 1); with StdThreshold the quality parameter. ``overrides``: an amount of its own for every weight that a pattern
    matches ("fc3", "layer1.*"; the first pattern that matches counts), 0 to leave it alone. Biases and norms are never
    pruned. Raises RecipeError where an amount is out of range or a pattern matches no layer.
    """

    amount: float
    granularity: Granularity = Elements()
    by: Criterion = Magnitude()
    allocate: Allocation = Uniform()
    overrides: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, amount in [("amount", self.amount), *self.overrides.items()]:
            problem = self.allocate.check(amount)
            if problem:
                raise RecipeError(f"Prune: {place} is {amount}; {problem}")

    def at(self, strength: float) -> Prune:
        """This pass with all amounts times ``strength``."""
        overrides = {pattern: amount * strength for pattern, amount in self.overrides.items()}
        return dataclasses.replace(self, amount=self.amount * strength, overrides=overrides)

    def check(self, graph: Graph, task: Task) -> None:
        """Every pattern matches a layer."""
        del task
        self._chosen(graph)

    def _chosen(self, graph: Graph) -> Choice[float]:
        return choose(layers(graph), self.amount, self.overrides, "Prune")

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` whose weights carry a Mask."""
        chosen = self._chosen(graph)
        amounts = {name: amount for name, amount in chosen.values.items() if amount > 0}
        pruned = copy.deepcopy(graph)
        if not amounts:
            note("Prune", "nothing to do: every amount is zero")
            return pruned
        for name, kept in self._kept(graph, task, amounts, chosen.own).items():
            _mask(pruned, name, kept)
        return pruned

    def _kept(
        self, graph: Graph, task: Task, amounts: Mapping[str, float], own: frozenset[str]
    ) -> dict[str, Tensor]:
        scores = self.by.scores(graph, task, tuple(amounts))
        pooled = {}
        for name, score in scores.items():
            removed = effective(graph, name) == 0
            pooled[name] = self.granularity.pool(score.masked_fill(removed, -torch.inf))
        kept = self.allocate.keep(pooled, amounts, own)
        return {name: self.granularity.spread(kept[name], scores[name].shape) for name in scores}


def _mask(graph: Graph, name: str, kept: Tensor) -> None:
    """Put a mask on the weight, or narrow the one that it ends in; report what did not change."""
    before = effective(graph, name)
    if not bool((before != 0)[~kept].any()):
        note(
            name,
            f"not pruned further: {int((before == 0).sum())} of {before.numel()} weights are zero already",
        )
        return
    if not bool((kept & (before != 0)).any()):
        note(
            name, "every weight was removed: the layer's output is its bias; lower its amount in `overrides`"
        )
    present = transforms(graph, name)
    if present and isinstance(present[-1], Mask):
        replace_transform(graph, name, len(present) - 1, Mask(present[-1].kept & kept))
    else:
        add_transform(graph, name, Mask(kept))
