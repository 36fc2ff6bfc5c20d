"""compress: a model, a task and a recipe in; a file that ships and what was measured on it out."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn

import gossamer.measure.resources  # noqa: F401  recipes in YAML name its classes
from gossamer import artifact, metrics
from gossamer.artifact import Coding, Program, Smallest
from gossamer.engine import Engine
from gossamer.errors import CheckpointError, SaveError, UnsupportedError
from gossamer.graph import (
    Graph,
    Note,
    Pass,
    check,
    explain_channels,
    fingerprint,
    from_state,
    record,
    to_state,
    trace,
)
from gossamer.measure import Comparison, compare
from gossamer.onnx import lower
from gossamer.recipe import unroll
from gossamer.recipe_file import load_recipe as load_recipe  # to be had where all parts of a recipe are known
from gossamer.report import write_report
from gossamer.task import Task, evaluate_with, example_inputs
from gossamer.train import Checkpoints, checkpointing, load_state, save_state


@dataclass(frozen=True, eq=False)
class StageFile:
    """The network after one pass of the recipe, as the file it would ship as.

    ``data``: the bytes of the ``.goss`` file. ``metric``: on the validation set, of that file as the Engine runs it;
    None where the Task has no metric.
    """

    name: str
    data: bytes = field(repr=False)
    metric: float | None
    seconds: float
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, eq=False)
class Result:
    """What :func:`compress` made: the trained graph, and a file for every stage, the original first."""

    name: str
    original: Graph = field(repr=False)
    graph: Graph = field(repr=False)
    task: Task = field(repr=False)
    stages: tuple[StageFile, ...]

    @cached_property
    def program(self) -> Program:
        """The network as it ships, read back from its bytes."""
        return artifact.unpack(self.stages[-1].data)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Everything that was noticed on the way, in order."""
        return tuple(entry for stage in self.stages for entry in stage.notes)

    def save(self, path: str | Path, *, coding: Coding = Smallest()) -> None:  # noqa: B008 (frozen)
        """Write the file that ships, its weights coded as ``coding`` says.

        Raises SaveError; a file that was there before stays whole then.
        """
        artifact.write(self.program, path, coding=coding)

    @cached_property
    def comparison(self) -> Comparison:
        """Everything measured, on first use: sizes, quality, latency in one alternating run, memory.

        Takes some seconds: every runtime is started in a process of its own.
        """
        return compare(
            self.stages,
            self.original,
            example_inputs(self.task),
            name=self.name,
            metric=None if self.task.metric is None else f"validation {metrics.title(self.task.metric)}",
            maximize=self.task.maximize,
        )

    def explain(self) -> str:
        """Which channels, neurons and heads of the network move together, one group a line: how many units it had and
        has, its share of the parameters, and what made those stay that cannot be pruned.
        """
        return explain_channels(self.graph)

    def report(self, path: str | Path) -> None:
        """Write the report, one HTML page that needs nothing else. Measures first where that was not done yet."""
        write_report(self.comparison, path)


def compress(
    model: nn.Module,
    task: Task,
    recipe: Sequence[Pass],
    *,
    checkpoint: str | Path | None = None,
    name: str | None = None,
) -> Result:
    """Run the passes of ``recipe`` on a copy of ``model``, and pack what comes out.

    ``model``: a trained module in any mode; never changed. ``recipe``: passes in order. ``checkpoint``: a directory;
    killed at any moment, the same call continues from there and ends with the same bytes. ``name``: what the report
    calls the network, by default the model's class.

    Raises TraceError and UnsupportedError, before anything trains, for a model that cannot be traced or lowered;
    RecipeError, TaskError and CheckpointError as the passes do, most of them before anything trains too.
    """
    passes = list(recipe) if not isinstance(recipe, Pass) else [recipe]
    list(unroll(passes))  # a recipe that is none fails before anything runs
    original = trace(model, example_inputs(task))
    for each in passes:
        each.check(original, task)
    run = _Run(original, task, passes, checkpoint)
    return Result(name or type(model).__name__, original, run.finish(), task, tuple(run.stages))


def save(network: Graph | Program | Result, path: str | Path) -> None:
    """Write a graph, a Program or a Result to a ``.goss`` file, which :func:`gossamer.load` reads.

    Raises SaveError.
    """
    if isinstance(network, Result):
        network.save(path)
    elif isinstance(network, Program):
        artifact.write(network, path)
    elif isinstance(network, Graph):
        artifact.write(lower(network), path)
    else:
        raise UnsupportedError(
            f"save takes a traced graph, a Program or a Result, not {type(network).__name__}; "
            "for a model: save(trace(model, example), path)"
        )


class _Run:
    """One recipe on its way: the graph so far, the stages so far, and where both are kept."""

    def __init__(
        self, graph: Graph, task: Task, recipe: Sequence[Pass], checkpoint: str | Path | None
    ) -> None:
        self.graph, self.task, self.recipe = graph, task, recipe
        self.stages: list[StageFile] = []
        self.folder = None if checkpoint is None else Path(checkpoint)
        said = re.sub(
            r" at 0x[0-9a-f]+", "", repr(list(recipe))
        )  # where an object lies differs from run to run
        self.identity = hashlib.sha256(f"{fingerprint(graph)} {said}".encode()).hexdigest()
        self.done = 0  # unrolled passes that are behind us
        self.seconds = 0.0  # spent in the stage that is under way
        self.notes: list[Note] = []  # of the stage that is under way
        self.slots: Checkpoints | None = None  # of the trainings of the last pass

    def finish(self) -> Graph:
        """Run what is left; the final graph."""
        self._restore()
        if not self.stages:
            with record() as notes:
                check(self.graph)
                self._close_stage("original", notes)
            self._store()
        position = 0
        for number, whole in enumerate(self.recipe, start=1):
            for each in unroll([whole]):
                position += 1
                if position > self.done:
                    self._step(each, f"{position:03}-{type(each).__name__}")
                    self.done = position
                    self._store()
            if len(self.stages) == number:
                self._close_stage(_title(whole), self.notes)
                self._store()
        return self.graph

    def _step(self, each: Pass, key: str) -> None:
        began = time.monotonic()
        keep = nullcontext() if self.folder is None else checkpointing(self.folder, key)
        with record() as notes, keep as self.slots:
            self.graph = each(self.graph, self.task)
            check(self.graph)
        self.seconds += time.monotonic() - began
        self.notes.extend(notes)

    def _close_stage(self, name: str, notes: Sequence[Note]) -> None:
        with record() as lowering:
            program = lower(self.graph)
            data = artifact.pack(program)
            shipped = artifact.unpack(data)
            if not artifact.same(shipped, program):
                raise SaveError(
                    f"{name}: the file does not read back as what was written; please report the network"
                )
            metric = self._metric(shipped)
        seen = tuple(dict.fromkeys([*notes, *lowering]))
        self.stages.append(StageFile(name, data, metric, self.seconds, seen))
        self.seconds, self.notes = 0.0, []

    def _metric(self, program: Program) -> float | None:
        if self.task.metric is None or self.task.valid is None:
            return None
        return evaluate_with(Engine(program), self.task)

    def _store(self) -> None:
        if self.folder is None or not PartialState().is_main_process:
            return
        state = {
            "identity": self.identity,
            "done": self.done,
            "seconds": self.seconds,
            "notes": [(entry.subject, entry.message) for entry in self.notes],
            "graph": to_state(self.graph),
            "stages": [_stage_state(stage) for stage in self.stages],
        }
        save_state(self.folder / "recipe.state", state)
        if self.slots is not None:
            self.slots.clear()  # the pass's result is stored: its own checkpoints are of no more use
            self.slots = None

    def _restore(self) -> None:
        path = None if self.folder is None else self.folder / "recipe.state"
        if path is None or not path.exists():
            return
        state = load_state(path)
        if state["identity"] != self.identity:
            raise CheckpointError(
                f"{path} belongs to another model or recipe; give another checkpoint directory, "
                "or delete this one"
            )
        self.graph = from_state(state["graph"])
        self.stages = [_stage_of(stored) for stored in state["stages"]]
        self.done, self.seconds = state["done"], state["seconds"]
        self.notes = [Note(*entry) for entry in state["notes"]]


def _title(each: Pass) -> str:
    """A pass as the report calls it: its name, and its first field where that is a number ("Prune(amount=0.92)")."""
    field, value = next(iter(vars(each).items()), ("", None))
    strength = (
        f"({field}={value:g})" if isinstance(value, int | float) and not isinstance(value, bool) else ""
    )
    return f"{type(each).__name__}{strength}"


def _stage_state(stage: StageFile) -> dict[str, Any]:
    return {
        "name": stage.name,
        "data": torch.frombuffer(bytearray(stage.data), dtype=torch.uint8),
        "metric": stage.metric,
        "seconds": stage.seconds,
        "notes": [(entry.subject, entry.message) for entry in stage.notes],
    }


def _stage_of(state: dict[str, Any]) -> StageFile:
    return StageFile(
        state["name"],
        state["data"].numpy().tobytes(),
        state["metric"],
        state["seconds"],
        tuple(Note(*entry) for entry in state["notes"]),
    )
