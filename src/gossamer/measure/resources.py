"""Resources of a ``Budget`` that are measured on the network as it ships: bytes of its file, latency in the Engine."""

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
from gossamer.graph import Graph
from gossamer.onnx import lower
from gossamer.prune.allocation import Resource
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
