"""``gossamer bench``: files side by side in one alternating run, in every installed runtime that can run
them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from gossamer.cli.output import milliseconds, table
from gossamer.errors import InputError, UnsupportedError
from gossamer.measure import Finish, Runner, file_runners, machine, race, speedup


@dataclass(frozen=True)
class Setting:
    """How to race: batch size, threads, runs (None: what fits in two seconds), sizes of open dimensions by
    name.
    """

    batch: int = 1
    threads: int = 1
    runs: int | None = None
    sizes: Mapping[str, int] | None = None
    compiled: bool = False


@dataclass(frozen=True)
class Entry:
    """One file in one runtime."""

    file: str
    finish: Finish


class Bench:
    """A race that was run."""

    def __init__(self, files: Sequence[Path], setting: Setting, progress: Callable[[float], None]) -> None:
        self.failures: list[tuple[str, str]] = []
        with tempfile.TemporaryDirectory(prefix="gossamer-") as folder:
            runners, owners = _runners(files, Path(folder), setting)

            def left_out(runner: Runner, error: UnsupportedError) -> None:
                self.failures.append((f"{owners[id(runner)]} in {runner.name}", str(error)))

            finishes = race(
                runners,
                runs=setting.runs,
                threads=setting.threads,
                progress=progress,
                on_failure=left_out,
            )
        if not finishes:
            raise UnsupportedError("; ".join(message for _, message in self.failures))
        self.entries = [Entry(owners[id(finish.runner)], finish) for finish in finishes]

    def as_json(self) -> dict[str, Any]:
        """All entries, in the order given; ``speedup`` is the first entry's latency over the entry's own."""
        first = self.entries[0].finish.latency
        return {
            "machine": asdict(machine()),
            "entries": [
                {
                    "file": entry.file,
                    **asdict(entry.finish.latency),
                    "speedup": asdict(speedup(first, entry.finish.latency)),
                    "peak_memory_bytes": entry.finish.first.bytes_peak,
                    "peak_memory_bytes_before_loading": entry.finish.first.bytes_before,
                }
                for entry in self.entries
            ],
            "agreement": [
                {"first": _title(a), "second": _title(b), "max_abs_difference": difference}
                for a, b, difference in self.agreement()
            ],
            "failures": [{"runner": who, "message": message} for who, message in self.failures],
        }

    def as_table(self) -> Table:
        """Latencies, ratios to the first, memory, and how far outputs are from the first's."""
        first = self.entries[0]
        latency = first.finish.latency
        threads = "1 thread" if latency.threads == 1 else f"{latency.threads} threads"
        title = f"batch {latency.batch}, {threads}; speed and outputs against the first row"
        columns = ("file", "runtime", "median ms", "quartiles", "speed", "runs", "peak MB", "max difference")
        return table(title, columns, [_row(entry, first) for entry in self.entries])

    def agreement(self) -> list[tuple[Entry, Entry, float]]:
        """Largest absolute difference of outputs, for every two entries with equal inputs and output
        shapes.
        """
        pairs = [(a, b, difference(a.finish, b.finish)) for a, b in combinations(self.entries, 2)]
        return [(a, b, apart) for a, b, apart in pairs if apart is not None]


def difference(a: Finish, b: Finish) -> float | None:
    """Largest absolute difference between two entries' outputs; None where inputs or output shapes differ."""
    if not _equal(a.runner.inputs, b.runner.inputs):
        return None
    ours, theirs = a.first.outputs, b.first.outputs
    if [x.shape for x in ours] != [x.shape for x in theirs]:
        return None
    pairs = zip(ours, theirs, strict=True)
    return max((float(np.max(np.abs(_numbers(x) - _numbers(y)), initial=0)) for x, y in pairs), default=0.0)


def _runners(files: Sequence[Path], folder: Path, setting: Setting) -> tuple[list[Runner], dict[int, str]]:
    runners: list[Runner] = []
    owners: dict[int, str] = {}
    for number, path in enumerate(files):
        own = folder / str(number)  # files of one name may come from two places
        own.mkdir()
        found = file_runners(path, own, batch=setting.batch, sizes=setting.sizes, compiled=setting.compiled)
        runners += [replace(runner, label=runner.name) for runner in found]
        owners |= {id(runner): str(path) for runner in runners[-len(found) :]}
    if not runners:
        raise InputError("no file was given")
    return runners, owners


def _row(entry: Entry, first: Entry) -> list[str]:
    latency = entry.finish.latency
    ratio = speedup(first.finish.latency, latency)
    apart = difference(first.finish, entry.finish)
    return [
        entry.file,
        latency.runtime,
        milliseconds(latency.median_ms),
        f"{milliseconds(latency.low_ms)} to {milliseconds(latency.high_ms)}",
        f"{ratio.median:.2f}×",
        str(latency.runs),
        f"{entry.finish.first.bytes_peak / 1e6:.0f}",
        "" if apart is None or entry is first else f"{apart:.1e}",
    ]


def _title(entry: Entry) -> str:
    return f"{entry.file} in {entry.finish.runner.name}"


def _equal(a: Sequence[np.ndarray[Any, Any]], b: Sequence[np.ndarray[Any, Any]]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def _numbers(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values.astype(np.float64)
