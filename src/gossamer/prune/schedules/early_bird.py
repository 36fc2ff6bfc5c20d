"""EarlyBird: the ticket shows long before the training is over; when its mask stands still, prune.

You, Li, Xu, Fu, Wang, Chen, Baraniuk, Wang, Lin: Drawing Early-Bird Tickets: Towards More Efficient Training of Deep
Networks. 2020, algorithm 1.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import final

import torch

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Pass, note, record
from gossamer.task import Task
from gossamer.train import Finetune

from ..prune import Prune, masks_of


@final
@dataclass(frozen=True)
class EarlyBird(Pass):
    """Train epoch by epoch until what ``prune`` would remove has hardly changed over ``window`` epochs; then prune.

    The distance of two masks is the share of their elements that differ; the ticket is drawn when all distances
    between the newest mask and the last ``window`` ones are below ``distance``, or after ``train.epochs`` epochs, which
    is noted. Each epoch is a training of its own (its optimizer starts anew), with a constant learning rate best.
    Raises RecipeError for settings out of range.
    """

    prune: Prune
    train: Finetune
    distance: float = 0.1
    window: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.distance <= 1 or self.window < 1:
            raise RecipeError(f"{self}: needs 0 < distance <= 1 and window >= 1")

    def check(self, graph: Graph, task: Task) -> None:
        """See :class:`Pass`."""
        self.prune.check(graph, task)
        self.train.check(graph, task)

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """See :class:`Pass`."""
        seen: list[torch.Tensor] = []
        for epoch in range(self.train.epochs):
            train = dataclasses.replace(self.train, epochs=1, seed=self.train.seed + epoch)
            graph = train(graph, task)
            with record():
                masks = masks_of(*self.prune.decide(graph, task))
            mask = torch.cat(
                [kept.flatten() for kept in masks.values()] or [torch.zeros(0, dtype=torch.bool)]
            )
            moved = [float((mask != before).double().mean()) for before in seen[-self.window :]]
            seen.append(mask)
            if len(moved) == self.window and max(moved) < self.distance:
                note(
                    "EarlyBird",
                    f"drawn after {epoch + 1} of {self.train.epochs} epochs: the mask moved {max(moved):.2%}",
                )
                break
        else:
            note(
                "EarlyBird",
                f"the mask had not come to rest after {self.train.epochs} epochs; pruned all the same",
            )
        return self.prune(graph, task)
