"""Finetune: train the network on its task, whatever compresses its weights in place."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field
from typing import final

from gossamer.errors import RecipeError
from gossamer.graph.journal import note
from gossamer.graph.module import Graph
from gossamer.graph.passes import Pass
from gossamer.task import Task

from .during import During
from .loop import Loop, Position
from .objectives import Objective, TaskLoss
from .optimizers import Adam, Optimizer
from .penalties import Penalty
from .randomness import preserved_randomness
from .schedules import Cosine, Schedule
from .stopping import EarlyStopping


@final
@dataclass(frozen=True)
class Finetune(Pass):
    """Train every parameter that requires a gradient, ``epochs`` times over the task's training batches.

    Masks hold and centroids move, since the weights are trained through their transforms; batch norm and
    dropout are in train mode; frozen parameters stay. ``penalties`` are added to the objective; ``during``
    happens between the steps (a mask that grows); ``clip`` bounds the norm of the whole gradient. ``seed``
    decides everything that is left to chance, the order of the data too, and the global random generators are
    afterwards as they were before: same seed, same bytes (on the same machine with as many threads; some CUDA
    kernels add in no fixed order). The metric is measured on the validation set after every epoch, where the
    task has both. Under ``torchrun`` or ``accelerate launch`` the processes share each batch; inside
    :func:`checkpointing` a killed run continues exactly.

    Raises TaskError for a task without what is needed and for a loss that becomes NaN or infinite,
    RecipeError for settings that make no sense and for a network without anything to train, CheckpointError
    for a checkpoint of another run.
    """

    epochs: int
    optimizer: Optimizer = field(default_factory=Adam)
    schedule: Schedule = field(default_factory=Cosine)
    objective: Objective = field(default_factory=TaskLoss)
    penalties: tuple[Penalty, ...] = ()
    during: tuple[During, ...] = ()
    early_stopping: EarlyStopping | None = None
    seed: int = 0
    clip: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 0:
            raise RecipeError(f"Finetune(epochs={self.epochs!r}): give a whole number of epochs, 0 or more")
        if self.seed < 0:
            raise RecipeError(f"Finetune(seed={self.seed}): give a seed of 0 or more")
        if self.clip is not None and not (math.isfinite(self.clip) and self.clip > 0):
            raise RecipeError(f"Finetune(clip={self.clip}): give a norm above 0, or None")
        object.__setattr__(self, "penalties", tuple(self.penalties))
        object.__setattr__(self, "during", tuple(self.during))
        if self.during and self.early_stopping is not None:
            raise RecipeError(
                "Finetune: what happens during a training has to come to its end; no early_stopping then"
            )

    def check(self, graph: Graph, task: Task) -> None:
        """The task has what training, the objective and early stopping need."""
        if self.epochs == 0:
            return
        task.require("train")
        self.objective.check(task)
        for each in self.during:
            each.check(graph, task)
        if self.early_stopping is not None:
            task.require("valid")
            task.require("metric")

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """The trained copy, on the graph's device and in its mode."""
        trained = copy.deepcopy(graph)
        if self.epochs == 0:
            note("Finetune", "0 epochs: the network is unchanged")
            return trained
        self.check(graph, task)
        started = time.monotonic()
        with preserved_randomness(task.train, task.valid):
            position = Loop(self, trained, task).run()
        note("Finetune", f"{self._summary(position)} ({time.monotonic() - started:.1f} s)")
        return trained

    def _summary(self, position: Position) -> str:
        first, last, best = position.history[0], position.history[-1], position.best
        said = f"{last.number} of {self.epochs} epochs: loss {first.loss:.4g} -> {last.loss:.4g}"
        if last.metric is not None:
            said += f", metric {first.metric:.4g} -> {last.metric:.4g}"
        if best.metric is not None:
            kept = "its weights are kept" if best.state is not None else "the last weights are kept"
            said += f"; the best was {best.metric:.4g} after epoch {best.epoch}, {kept}"
        return said
