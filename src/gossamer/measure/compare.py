"""The whole comparison that a report shows: every stage of a recipe as a file, all of them in one race."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gossamer import artifact
from gossamer.artifact import DeepCompression
from gossamer.errors import UnsupportedError
from gossamer.measure.contestants import first_examples, onnx_runners, save_torch
from gossamer.measure.file import measure_file
from gossamer.measure.latency import Finish, race
from gossamer.measure.machine import machine
from gossamer.measure.profile import step_times
from gossamer.measure.records import Comparison, Measurement, Stage
from gossamer.measure.runtimes import Arrays, Gossamer, TorchEager
from gossamer.measure.worker import Runner

if TYPE_CHECKING:
    from gossamer.graph import Graph

#: Weights as plain numbers: what a network takes that nobody compressed.
PLAIN = DeepCompression(huffman=False)


class Noted(Protocol):
    """What a note says, as ``gossamer.graph.Note``."""

    @property
    def subject(self) -> str: ...  # noqa: D102
    @property
    def message(self) -> str: ...  # noqa: D102


class StageFile(Protocol):
    """One stage of a recipe: the bytes of its ``.goss`` file, and what came with them."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def data(self) -> bytes: ...  # noqa: D102
    @property
    def metric(self) -> float | None: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def notes(self) -> Sequence[Noted]: ...  # noqa: D102


def compare(
    stages: Sequence[StageFile],
    original: Graph,
    example: Any,
    *,
    name: str,
    metric: str | None,
    maximize: bool,
    runs: int | None = None,
) -> Comparison:
    """Measure every stage, the first of which is the original; race them and the other installed runtimes.

    ``original``: the graph before the recipe, for torch. ``example``: a batch of inputs as the Task gives
    them, whose first example is what is raced, on one thread. Original and final network run in every
    installed runtime, the stages between in ours. What a runtime cannot run is noted and left out. After the
    race the original and the final network are also timed step by step (``Measurement.steps``).
    """
    files = [artifact.pack(artifact.unpack(stages[0].data), coding=PLAIN), *(s.data for s in stages[1:])]
    if len(files) == 1:  # an empty recipe: the original as it ships
        files.append(stages[0].data)
    with tempfile.TemporaryDirectory(prefix="gossamer-") as folder:
        field = _Field(Path(folder), files, original, example)
        finishes = race(field.runners, runs=runs, on_failure=field.leave_out)
    measurements = [
        _measured(data, stages[min(i, len(stages) - 1)].metric, field.of(finishes, i))
        for i, data in enumerate(files)
    ]
    for i in (0, len(files) - 1):
        measurements[i] = _profiled(measurements[i], files[i], field.inputs)
    return Comparison(
        name=name,
        metric_name=metric or "",
        maximize=maximize,
        original=measurements[0],
        stages=tuple(_stage(*pair) for pair in zip(stages[1:], measurements[1:], strict=False)),
        final=measurements[-1],
        machine=machine(),
        notes=tuple(field.notes),
    )


class _Field:
    """Who races: ``runners``, on which ``inputs``, and which stage each of them belongs to."""

    def __init__(self, folder: Path, files: Sequence[bytes], original: Graph, example: Any) -> None:
        self.runners: list[Runner] = []
        self.notes: list[tuple[str, str]] = []
        self._stages: list[int] = []
        self._folder = folder
        self.inputs = first_examples(example, artifact.unpack(files[0]), batch=1)
        for i, data in enumerate(files):
            path = folder / f"stage-{i}.goss"
            path.write_bytes(data)
            self._enter(i, [Runner(Gossamer, path, self.inputs)])
        self._attempt(0, "torch", lambda: self._torch(original))
        for i in (0, len(files) - 1):
            path = folder / f"stage-{i}.onnx"
            program = artifact.unpack(files[i])
            self._attempt(i, "ONNX", lambda: onnx_runners(program, path, self.inputs))  # noqa: B023

    def _torch(self, original: Graph) -> list[Runner]:
        path = self._folder / "original.pt2"
        save_torch(original, self.inputs, path)
        return [Runner(TorchEager, path, self.inputs)]

    def _attempt(self, stage: int, form: str, build: Callable[[], Sequence[Runner]]) -> None:
        """A network that has no such form is noted, and the comparison goes on without it."""
        try:
            self._enter(stage, build())
        except UnsupportedError as error:
            self.notes.append((form, f"not measured: {error}"))

    def _enter(self, stage: int, runners: Sequence[Runner]) -> None:
        self.runners.extend(runners)
        self._stages.extend([stage] * len(runners))

    def leave_out(self, runner: Runner, error: UnsupportedError) -> None:
        """Take note that a runner could not run."""
        self.notes.append((runner.name, f"not measured: {error}"))

    def of(self, finishes: Sequence[Finish], stage: int) -> list[Finish]:
        """Those of a stage."""
        belongs = {id(runner): s for runner, s in zip(self.runners, self._stages, strict=True)}
        return [finish for finish in finishes if belongs[id(finish.runner)] == stage]


def _measured(data: bytes, metric: float | None, finishes: Sequence[Finish]) -> Measurement:
    ours = next((finish for finish in finishes if finish.runner.runtime is Gossamer), None)
    return measure_file(
        data,
        metric=metric,
        latencies=tuple(finish.latency for finish in finishes),
        peak_memory_bytes=None if ours is None else ours.first.bytes_peak,
    )


def _profiled(measured: Measurement, data: bytes, inputs: Arrays) -> Measurement:
    """With the times of the Engine's steps, where the Engine took part in the race."""
    if not any(latency.runtime == Gossamer.name for latency in measured.latencies):
        return measured
    return replace(measured, steps=step_times(artifact.unpack(data), inputs))


def _stage(stage: StageFile, measured: Measurement) -> Stage:
    notes = tuple((entry.subject, entry.message) for entry in stage.notes)
    return Stage(stage.name, measured, stage.seconds, notes)
