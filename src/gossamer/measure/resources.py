"""What budgets are of, measured on the network as it ships: bytes of its file, latency in the Engine, by layer too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from gossamer import artifact
from gossamer._nested import leaves, slice_batch, to_arrays
from gossamer.engine import Engine
from gossamer.errors import RecipeError
from gossamer.graph import Graph, layers
from gossamer.onnx import lower
from gossamer.prune.allocation import Resource
from gossamer.quantize.mixed import Timer
from gossamer.task import Task, example_inputs


@final
@dataclass(frozen=True)
class Bytes(Resource):
    """Bytes of the ``.goss`` file, entropy-coded, everything in it counted."""

    def spent(self, graph: Graph, task: Task) -> float:
        """By ``graph`` as it is."""
        del task
        return float(len(artifact.pack(lower(graph))))


@final
@dataclass(frozen=True)
class EngineLatency(Resource):
    """Milliseconds that the Engine takes, on this machine: the median of ``runs`` calls, after a tenth as many.

    On the first ``batch`` examples of the task, with ``threads`` threads. A measurement: another run may differ by a
    few percent, and so the bisection's last steps are worth little.
    """

    batch: int = 1
    threads: int = 1
    runs: int = 50

    def __post_init__(self) -> None:
        if min(self.batch, self.threads, self.runs) < 1:
            raise RecipeError(f"{self}: batch, threads and runs are 1 or more")

    def spent(self, graph: Graph, task: Task) -> float:
        """By ``graph`` as it is."""
        inputs = to_arrays(slice_batch(example_inputs(task), 0, self.batch))
        with torch.no_grad():
            engine = Engine(artifact.unpack(artifact.pack(lower(graph))), threads=self.threads)
        arrays = [np.ascontiguousarray(array) for array in leaves(inputs)]
        times = []
        for _ in range(self.runs + self.runs // 10 + 1):
            began = time.perf_counter()
            engine(*arrays)
            times.append(time.perf_counter() - began)
        return 1000 * float(np.median(times[self.runs // 10 + 1 :]))


@final
@dataclass(frozen=True)
class LayerLatency(Timer):
    """Microseconds of each layer in the Engine, on this machine: each step of its plan timed by itself, the median.

    On the first ``batch`` examples of the task, on one thread, over ``runs`` runs. A step has the name of the layer
    whose weights it reads.
    """

    batch: int = 1
    runs: int = 100

    def __post_init__(self) -> None:
        if min(self.batch, self.runs) < 1:
            raise RecipeError(f"{self}: batch and runs are 1 or more")

    def layers(self, graph: Graph, task: Task) -> tuple[dict[str, float], float]:
        """See :class:`Timer`."""
        inputs = to_arrays(slice_batch(example_inputs(task), 0, self.batch))
        arrays = [np.ascontiguousarray(array) for array in leaves(inputs)]
        steps = Engine(lower(graph)).explain(*arrays, runs=self.runs)
        weights = {layer.name: layer.weight for layer in layers(graph)}
        times = dict.fromkeys(weights.values(), 0.0)
        for step in steps:
            if step.name in weights:
                times[weights[step.name]] += step.microseconds or 0.0
        return times, sum(step.microseconds or 0.0 for step in steps if step.name not in weights)
