"""SET and RigL: a sparse network all along, whose weakest connections move elsewhere.

Mocanu, Mocanu, Stone, Nguyen, Gibescu, Liotta: Scalable Training of Artificial Neural Networks with Adaptive Sparse
Connectivity inspired by Network Science. 2018 (SET). Evci, Gale, Menick, Castro, Elsen: Rigging the Lottery: Making All
Tickets Winners. 2020 (RigL), algorithm 1.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, original
from gossamer.task import Task
from gossamer.train import During, Moment

from ..granularity import Groups
from ..mask import Mask, OpenMask
from ..prune import Prune
from .masking import decide, groups_of, mask_of, pruned_weights, put_masks, require_masks


@dataclass(frozen=True)
class Regrowth(During):
    """``prune`` before the first step; then, every ``every`` steps until ``stop``, connections move.

    In each layer the share ``fraction`` / 2 (1 + cos(pi t / ``stop``)) of the groups that are kept goes (the least sum
    of |w|), and as many of those that were out come in, from zero and without memory in the optimizer: the number of
    weights of each layer never changes. For a network that is not trained yet: ``Prune(0.95, by=Chance(),
    allocate=ErdosRenyi())``. Raises RecipeError for settings out of range.
    """

    prune: Prune
    every: int = 100
    fraction: float = 0.3
    stop: float = 0.75

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 < self.fraction < 1 or not 0 < self.stop <= 1:
            raise RecipeError(f"{self}: needs every >= 1, 0 < fraction < 1 and 0 < stop <= 1")

    @abc.abstractmethod
    def worth(self, gradient: Tensor, generator: torch.Generator) -> Tensor:
        """What groups are worth, (groups,), given the sums of their |gradient|; the best that are out come in."""

    def check(self, graph: Graph, task: Task) -> None:
        """See :class:`During`."""
        require_masks(self.prune)
        self.prune.check(graph, task)

    def begin(self, network: Graph, task: Task) -> None:
        """See :class:`During`."""
        masks = decide(self.prune, network, task)
        put_masks(network, list(masks), OpenMask)
        for name, kept in masks.items():
            mask_of(network, name).logical_and_(kept)

    @torch.no_grad()
    def after_gradients(self, moment: Moment) -> None:
        """See :class:`During`."""
        network = moment.network
        if moment.step % self.every == 0 and moment.step < self.stop * moment.steps:
            share = self.fraction / 2 * (1 + math.cos(math.pi * moment.step / (self.stop * moment.steps)))
            generator = moment.generator()
            for groups in groups_of(self.prune, network):
                self._move(moment, groups, share, generator)
        for name in pruned_weights(self.prune, network):
            gradient = original(network, name).grad
            if gradient is not None:
                gradient.masked_fill_(~mask_of(network, name), 0)

    def end(self, network: Graph) -> None:
        """See :class:`During`."""
        put_masks(network, pruned_weights(self.prune, network), Mask)

    def _move(self, moment: Moment, groups: Groups, share: float, generator: torch.Generator) -> None:
        weights = {name: original(moment.network, name) for name in groups.weights}
        gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
        kept = groups.gather({name: mask_of(moment.network, name) for name in weights}).any(1)
        count = min(int(share * int(kept.sum())), int((~kept).sum()))
        if not count or len(gradients) < len(weights):
            return
        sizes, slopes = groups.gather(weights).abs().sum(1), groups.gather(gradients).abs().sum(1)
        weakest = _least(sizes.masked_fill(~kept, torch.inf), count)
        worth = self.worth(slopes, generator).to(slopes.device)
        growing = _least((-worth).masked_fill(kept, torch.inf), count)
        for name, grown in groups.spread(growing).items():
            weights[name].masked_fill_(grown, 0)
            moment.forget(weights[name], grown)
        for name, mask in groups.spread((kept & ~weakest) | growing).items():
            mask_of(moment.network, name).copy_(mask)


def _least(values: Tensor, count: int) -> Tensor:
    """Where the ``count`` least values are, bool."""
    chosen = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    chosen[values.argsort(stable=True)[:count]] = True
    return chosen


@final
@dataclass(frozen=True)
class RigL(Regrowth):
    """Connections come in where |d loss / d weight|, at zero, is largest."""

    def worth(self, gradient: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`Regrowth`."""
        del generator
        return gradient


@final
@dataclass(frozen=True)
class SET(Regrowth):
    """Connections come in by chance."""

    def worth(self, gradient: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`Regrowth`."""
        return torch.rand(gradient.shape, generator=generator)
