"""Objectives: what one training step minimizes."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import torch
from torch import Tensor

from gossamer.task import Task, call, loss_of

# (network, inputs, targets) -> scalar loss, a mean over the batch. The step calls the network itself, with
# ``task.call``, so that an objective may look at more than its outputs.
StepLoss: TypeAlias = Callable[[Callable[..., Any], Any, Any], Tensor]


class Objective(abc.ABC):
    """What a training minimizes: final frozen dataclasses, of which ``Distill(teacher, ...)`` is another."""

    @abc.abstractmethod
    def begin(self, task: Task, device: torch.device) -> StepLoss:
        """The step's loss for one training on ``device``; what it needs there (a teacher), it copies.

        Batches arrive on ``device`` already. Raises TaskError where the task lacks what the objective needs.
        """

    def check(self, task: Task) -> None:
        """Raise TaskError where the task lacks what the objective needs."""
        del task


@final
@dataclass(frozen=True)
class TaskLoss(Objective):
    """The Task's own loss."""

    def check(self, task: Task) -> None:
        """A loss is needed."""
        task.require("loss")

    def begin(self, task: Task, device: torch.device) -> StepLoss:
        """``task.loss(network(inputs), targets)``, checked at every step."""
        del device
        return lambda network, inputs, targets: loss_of(task, call(network, inputs), targets)
