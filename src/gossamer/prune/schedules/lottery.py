"""Lottery: winning tickets, found by training, pruning and going back.

Frankle, Carbin: The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks. 2019. Frankle, Dziugaite,
Roy, Carbin: Stabilizing the Lottery Ticket Hypothesis. 2019 (back to early weights).
"""

from __future__ import annotations

import abc
import copy
import dataclasses
from dataclasses import dataclass, field
from typing import final

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Pass
from gossamer.task import Task
from gossamer.train import Finetune, Geometric, Ramp

from ..prune import Prune
from .scratch import Reinitialize


class Rewind(abc.ABC):
    """What a ticket's weights are set to before it trains."""

    @abc.abstractmethod
    def start(self, graph: Graph, task: Task, train: Finetune) -> Graph:
        """The network with those weights; ``graph`` is the one before any training, or for new ones the ticket."""


@final
@dataclass(frozen=True)
class ToStart(Rewind):
    """The weights that the network came with: the winning ticket."""

    def start(self, graph: Graph, task: Task, train: Finetune) -> Graph:
        """See :class:`Rewind`."""
        del task, train
        return graph


@final
@dataclass(frozen=True)
class ToEarly(Rewind):
    """The weights after the first ``epochs`` epochs of the training ("late resetting"), for deep networks."""

    epochs: int = 1

    def start(self, graph: Graph, task: Task, train: Finetune) -> Graph:
        """See :class:`Rewind`."""
        return dataclasses.replace(train, epochs=self.epochs)(graph, task)


@final
@dataclass(frozen=True)
class ToRandom(Rewind):
    """New random weights under the same masks: the control, which should do worse."""

    seed: int = 1

    def start(self, graph: Graph, task: Task, train: Finetune) -> Graph:
        """See :class:`Rewind`."""
        del train
        return Reinitialize(self.seed)(graph, task)


@final
@dataclass(frozen=True)
class Lottery(Pass):
    """Find a ticket in ``rounds`` rounds of training, pruning and going back to the start, and train it.

    For a network that is not trained yet. In round r the trained network is pruned to ``prune`` at the strength of
    ``ramp``, the weights that are left go back to where they started, and train again; ``rounds=1`` is the one-shot
    ticket. The last training starts from ``rewind``; ``ramp`` None is the paper's: every round keeps the same share.
    Without ``train_ticket`` the ticket comes untrained. Raises RecipeError for less than one round.
    """

    prune: Prune
    train: Finetune
    rounds: int = 5
    rewind: Rewind = field(default_factory=ToStart)
    ramp: Ramp | None = None
    train_ticket: bool = True

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise RecipeError(f"Lottery: rounds is {self.rounds}; give 1 or more")

    def check(self, graph: Graph, task: Task) -> None:
        """See :class:`Pass`."""
        self.prune.check(graph, task)
        self.train.check(graph, task)

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """See :class:`Pass`."""
        if self.prune.amount == 0 and not any(self.prune.overrides.values()):
            return self.prune(graph, task)  # which says that there is nothing to do
        ramp = self.ramp or Geometric(1 - self.prune.amount)
        back = ToStart() if isinstance(self.rewind, ToRandom) else self.rewind
        ticket = back.start(graph, task, self.train)
        for round_ in range(1, self.rounds + 1):
            prune = self.prune.at(ramp.strength(round_ / self.rounds))
            groups, kept = prune.decide(self.train(ticket, task), task)
            ticket = prune.without(copy.deepcopy(ticket), groups, kept)
        if isinstance(self.rewind, ToRandom):
            ticket = self.rewind.start(ticket, task, self.train)
        return self.train(ticket, task) if self.train_ticket else ticket
