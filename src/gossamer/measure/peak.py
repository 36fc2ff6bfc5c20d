"""The machine's own peak as a contestant: a loop of multiply-accumulates that never leave their registers.

Run in the rotation with the others, it is slowed by whatever slows them: a clock that drifts, a neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gossamer.measure.runtimes import Arrays, Runtime

_ROUNDS = 50_000  # of 12 chains: a quarter of a millisecond, or a few of them where there are no vectors


class PeakFloats(Runtime):
    """Fused multiply-adds of float32, with the instruction set that an Engine would choose; no file is read.

    Gives the number of multiply-accumulates that one run did, on all threads.
    """

    name, suffix, package = "peak fp32", "", "gossamer"
    family: ClassVar[str] = "peak_floats"

    def __init__(self, path: Path, threads: int) -> None:
        self._loop = _loop(self.family)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """See :meth:`Runtime.run`."""
        others = [self._pool.submit(self._loop) for _ in range(self._threads - 1)] if self._pool else []
        macs = self._loop() + sum(other.result() for other in others)
        return (np.array(macs),)


class PeakBytes(PeakFloats):
    """Products of uint8 and int8, summed in int32: ``vpdpbusd`` where there is one."""

    name = "peak int8"
    family: ClassVar[str] = "peak_bytes"


def _loop(family: str) -> Callable[[], int]:
    """The loop of the family's fastest row that an Engine may use here; it returns the multiply-accumulates done."""
    from gossamer import _native
    from gossamer.measure.machine import instruction_set

    isas = _native.machine_isas()
    allowed = isas[: isas.index(instruction_set()) + 1]
    row = [name for name, isa in _native.kernel_rows() if name.startswith(f"{family}/") and isa in allowed][
        -1
    ]
    check = getattr(_native, f"check_{family}")

    def loop() -> int:
        macs, total = np.zeros(1, np.int64), np.zeros(1)
        check(row, rounds=_ROUNDS, x=1, y=1, macs=macs, total=total)
        return int(macs[0])

    return loop
