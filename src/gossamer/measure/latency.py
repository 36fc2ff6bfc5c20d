"""Latency by a race: every runtime in a process of its own, in short blocks by turns, under the same clock.

Clocks drift and neighbours come and go. What one runtime is measured at alone says little; what several are
measured at in one rotation can be divided, block by block, and that ratio is what a speed-up is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from gossamer.errors import InputError, UnsupportedError
from gossamer.measure.records import Latency
from gossamer.measure.worker import FirstRun, Runner, Worker

_BLOCKS = 20
# Unless told, each runtime gets as many runs as the slowest does in this time, within the bounds.
_SECONDS, _FEWEST, _MOST = 2.0, 40, 2000


@dataclass(frozen=True)
class Finish:
    """How one runner came through a race: its latency, its outputs, and its process's memory."""

    runner: Runner
    latency: Latency
    first: FirstRun


@dataclass(frozen=True)
class Ratio:
    """One latency over another, paired block by block: median and quartiles. Above 1, the first is the
    slower one.
    """

    median: float
    low: float
    high: float


def race(
    runners: Sequence[Runner],
    *,
    runs: int | None = None,
    threads: int = 1,
    progress: Callable[[float], None] = lambda share: None,
    on_failure: Callable[[Runner, UnsupportedError], None] | None = None,
) -> list[Finish]:
    """Race ``runners`` in one alternating run, on ``threads`` threads each; answers in their order.

    ``runs``: timed runs of each (by default what fits in about two seconds of the slowest, 40 to 2000).
    ``progress`` is called with the share that is done. Raises ``UnsupportedError`` where a runtime cannot run
    its file; with ``on_failure``, calls that instead and goes on without the runner. Raises
    ``MissingDependencyError`` where a runtime is not installed.
    """
    if not runners:
        raise InputError("nothing to race: no runner was given")
    if threads < 1 or (runs is not None and runs < 1):
        raise InputError(f"runs={runs}, threads={threads}: both must be at least 1")
    with ExitStack() as stack:
        entered = [_enter(stack, runner, threads, on_failure) for runner in runners]
        ready = [(worker, first) for worker, first in filter(None, entered)]
        workers = [worker for worker, _ in ready]
        sizes = _block_sizes(runs or _affordable_runs(workers))
        times = _rotate(workers, sizes, progress)
    return [
        Finish(worker.runner, _summary(worker.runner, blocks, threads), first)
        for (worker, first), blocks in zip(ready, times, strict=True)
    ]


def _enter(
    stack: ExitStack,
    runner: Runner,
    threads: int,
    on_failure: Callable[[Runner, UnsupportedError], None] | None,
) -> tuple[Worker, FirstRun] | None:
    worker = stack.enter_context(Worker(runner, threads))
    try:
        return worker, worker.first_run()
    except UnsupportedError as error:
        if on_failure is None:
            raise
        on_failure(runner, error)
        return None


def latency(runners: Sequence[Runner], *, runs: int | None = None, threads: int = 1) -> list[Latency]:
    """The latencies alone of a :func:`race`."""
    return [finish.latency for finish in race(runners, runs=runs, threads=threads)]


def speedup(reference: Latency, other: Latency) -> Ratio:
    """delta = s / s*: how many times as fast ``other`` is as ``reference``, both from one race."""
    if len(reference.blocks_ms) != len(other.blocks_ms) or not reference.blocks_ms:
        raise InputError(f"{reference.runtime!r} and {other.runtime!r} were not measured in one race")
    low, median, high = np.percentile(np.divide(reference.blocks_ms, other.blocks_ms), (25, 50, 75))
    return Ratio(float(median), float(low), float(high))


def _rotate(
    workers: Sequence[Worker], sizes: Sequence[int], progress: Callable[[float], None]
) -> list[list[list[float]]]:
    """Milliseconds by worker, block and run. Every other round goes backwards: nobody always follows the
    same one.
    """
    times: list[list[list[float]]] = [[] for _ in workers]
    for number, size in enumerate(sizes):
        order = range(len(workers)) if number % 2 == 0 else reversed(range(len(workers)))
        for i in order:
            times[i].append(workers[i].block(size))
        progress((number + 1) / len(sizes))
    return times


def _affordable_runs(workers: Sequence[Worker]) -> int:
    slowest = max((min(worker.block(3)) for worker in workers), default=1.0) / 1000
    return int(np.clip(_SECONDS / max(slowest, 1e-9), _FEWEST, _MOST))


def _block_sizes(runs: int) -> list[int]:
    blocks = min(_BLOCKS, runs)
    return [runs // blocks + (i < runs % blocks) for i in range(blocks)]


def _summary(runner: Runner, blocks: Sequence[Sequence[float]], threads: int) -> Latency:
    times = np.concatenate(blocks)
    low, median, high = (float(q) for q in np.percentile(times, (25, 50, 75)))
    return Latency(
        runtime=runner.name,
        batch=_batch(runner),
        threads=threads,
        median_ms=median,
        low_ms=low,
        high_ms=high,
        runs=len(times),
        blocks_ms=tuple(float(np.median(block)) for block in blocks),
    )


def _batch(runner: Runner) -> int:
    return len(runner.inputs[0]) if runner.inputs and runner.inputs[0].ndim else 1
