"""Peak memory of a fresh process that loads a file and runs one batch."""

from __future__ import annotations

from dataclasses import dataclass

from gossamer.measure.worker import Runner, Worker


@dataclass(frozen=True)
class PeakMemory:
    """Peak resident set in bytes. ``before``: Python, NumPy and the inputs alone. ``peak``: after loading and
    one run.

    The difference holds the runtime's own code too: what importing torch takes counts for torch.
    """

    runtime: str
    before: int
    peak: int


def peak_memory(runner: Runner, *, threads: int = 1) -> PeakMemory:
    """Start a process with nothing but NumPy in it, load ``runner.path`` there, run one batch, and look.

    Raises ``UnsupportedError`` where the runtime cannot run the file.
    """
    with Worker(runner, threads) as worker:
        first = worker.first_run()
    return PeakMemory(runner.name, first.bytes_before, first.bytes_peak)
