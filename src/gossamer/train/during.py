"""During: what else happens to a network while it trains: masks that grow, weights that come back.

An object says what to do and keeps nothing: all that it has to remember is in the network's own buffers (a mask), which
checkpoints hold, or follows from the step. So a training that is killed at any moment ends with the same bytes.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from gossamer.graph.module import Graph
from gossamer.task import Task

from .randomness import seeded_generator


@dataclass(frozen=True, eq=False)
class Moment:
    """A step of a training, ``step`` of ``steps`` counted from 1, with what it works on."""

    network: Graph
    task: Task
    optimizer: torch.optim.Optimizer
    step: int
    steps: int
    seed: int

    @property
    def progress(self) -> float:
        """The share of the training that is over after this step, in (0, 1]."""
        return self.step / self.steps

    def generator(self) -> torch.Generator:
        """Chance for this step alone, the same in every process and after every interruption."""
        return seeded_generator(self.seed, self.step)

    def forget(self, parameter: Tensor, where: Tensor) -> None:
        """Set the optimizer's memory of ``parameter`` (momentum, averages) to zero where ``where`` is."""
        for value in self.optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == where.shape:
                value.masked_fill_(where, 0)


class During(abc.ABC):  # noqa: B024 (every verb has a default)
    """A final frozen dataclass; every method may do nothing."""

    def check(self, graph: Graph, task: Task) -> None:
        """Raise RecipeError or TaskError where this cannot work."""
        del graph, task

    def begin(self, network: Graph, task: Task) -> None:
        """Before the training starts, and again before it resumes: put transforms in place, the same every time."""
        del network, task

    def after_gradients(self, moment: Moment) -> None:
        """When a step's gradients are there, before the optimizer uses them."""
        del moment

    def after_update(self, moment: Moment) -> None:
        """When the optimizer has changed the weights."""
        del moment

    def end(self, network: Graph) -> None:
        """After the last step: leave the network as it ships."""
        del network
