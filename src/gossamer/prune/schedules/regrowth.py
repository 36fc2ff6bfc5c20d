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

from ..mask import Mask, OpenMask
from ..prune import Prune
from .masking import decide, mask_of, pruned_weights, put_masks


@dataclass(frozen=True)
class Regrowth(During):
    """``prune`` before the first step; then, every ``every`` steps until ``stop``, connections move.

    In each layer the share ``fraction`` of what is kept, falling by a cosine to zero at ``stop``, goes (the least
    |w|), and as many of those that were out come in, from zero and without memory in the optimizer: the number of
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
        """By which connections that are out are chosen, of the shape of ``gradient``; the largest come in."""

    def check(self, graph: Graph, task: Task) -> None:
        """See :class:`During`."""
        self.prune.check(graph, task)

    def begin(self, network: Graph, task: Task) -> None:
        """See :class:`During`."""
        masks = decide(self.prune, network, task)
        put_masks(network, list(masks), OpenMask)
        for name, kept in masks.items():
            mask_of(network, name).logical_and_(kept)

    def after_gradients(self, moment: Moment) -> None:
        """See :class:`During`."""
        moves = moment.step % self.every == 0 and moment.step < self.stop * moment.steps
        share = self.fraction / 2 * (1 + math.cos(math.pi * moment.step / (self.stop * moment.steps)))
        generator = moment.generator()
        for name in pruned_weights(self.prune, moment.network):
            weight = original(moment.network, name)
            if weight.grad is None:
                continue
            if moves:
                self._move(moment, name, weight, share, generator)
            weight.grad.masked_fill_(~mask_of(moment.network, name), 0)

    def end(self, network: Graph) -> None:
        """See :class:`During`."""
        put_masks(network, pruned_weights(self.prune, network), Mask)

    @torch.no_grad()
    def _move(
        self, moment: Moment, name: str, weight: Tensor, share: float, generator: torch.Generator
    ) -> None:
        kept = mask_of(moment.network, name)
        assert weight.grad is not None  # asked by the caller
        count = min(int(share * int(kept.sum())), int((~kept).sum()))
        if not count:
            return
        weakest = _least(weight.abs().masked_fill(~kept, torch.inf), count)
        worth = self.worth(weight.grad, generator).to(weight.device)
        growing = _least((-worth).masked_fill(kept, torch.inf), count)
        weight.masked_fill_(growing, 0)
        moment.forget(weight, growing)
        kept.copy_((kept & ~weakest) | growing)


def _least(values: Tensor, count: int) -> Tensor:
    """Where the ``count`` least values are, bool."""
    chosen = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    chosen[values.flatten().argsort(stable=True)[:count]] = True
    return chosen.view(values.shape)


@final
@dataclass(frozen=True)
class RigL(Regrowth):
    """Connections come in where the gradient is largest (the magnitude of d loss / d weight at zero)."""

    def worth(self, gradient: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`Regrowth`."""
        del generator
        return gradient.abs()


@final
@dataclass(frozen=True)
class SET(Regrowth):
    """Connections come in by chance."""

    def worth(self, gradient: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`Regrowth`."""
        return torch.rand(gradient.shape, generator=generator)
