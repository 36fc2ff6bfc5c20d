"""A process of its own for each runtime: one's allocators and thread pools do not touch another's.

The parent holds a ``Worker``, the child runs ``serve``: it loads the file, runs it once, and then times as
many runs as it is asked for, each time it is asked. The two talk through a private socket pair.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import cast

from gossamer import _native
from gossamer.errors import UnsupportedError
from gossamer.measure.runtimes import Arrays, Runtime

_PACKAGES = Path(__file__).absolute().parents[2]
_SERVE = "from gossamer.measure.worker import serve; serve"
# Untimed runs at the head of every block bring code and weights back into the caches that another process
# used.
_SETTLE_NS, _SETTLE_RUNS = 1_000_000, 50


@dataclass(frozen=True)
class Runner:
    """What is raced: a runtime, the file that it loads, and the inputs that it gets (the first axis is the
    batch).

    ``label`` names it in tables, by default after the runtime. ``cpu_time``: measure the processor time of its process
    instead of the time that passes, which on a machine that others use is mostly theirs; for one thread only.
    """

    runtime: type[Runtime]
    path: Path
    inputs: Arrays
    label: str = ""
    cpu_time: bool = False

    @property
    def name(self) -> str:
        """The label, or the runtime's name."""
        return self.label or self.runtime.name


@dataclass(frozen=True)
class FirstRun:
    """What the first run gave. Memory is the process's peak resident set in bytes, before and after loading
    and running.
    """

    outputs: Arrays
    bytes_before: int
    bytes_peak: int


@dataclass(frozen=True)
class _Load:
    runtime: type[Runtime]
    path: Path
    threads: int
    inputs: Arrays
    cpu_time: bool


@dataclass(frozen=True)
class _Failure:
    message: str


class Worker:
    """A context manager around the child process. What the runtime cannot do is an ``UnsupportedError``."""

    def __init__(self, runner: Runner, threads: int) -> None:
        self._python = runner.runtime.interpreter()
        self.runner, self.threads = runner, threads

    def __enter__(self) -> Worker:
        ours, theirs = socket.socketpair()
        self._links = _Links() if self._python != sys.executable else None
        packages = (
            [str(_PACKAGES), *(p for p in sys.path if p)] if self._links is None else [self._links.name]
        )
        with theirs:
            self._process = subprocess.Popen(
                [self._python, "-c", f"{_SERVE}({theirs.fileno()})"],
                pass_fds=[theirs.fileno()],
                env=_environment(self.threads, packages),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else subprocess.DEVNULL,
            )
        self._pipe = Connection(ours.detach())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._pipe.close()  # the child ends when its side reads the end
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._links is not None:
            self._links.cleanup()

    def first_run(self) -> FirstRun:
        """Load the file and run it once."""
        runner = self.runner
        load = _Load(
            runner.runtime, Path(runner.path).absolute(), self.threads, runner.inputs, runner.cpu_time
        )
        return cast("FirstRun", self._ask(load))

    def block(self, runs: int) -> list[float]:
        """Milliseconds of each of ``runs`` runs in a row, after a few that are not timed."""
        return cast("list[float]", self._ask(runs))

    def _ask(self, question: object) -> object:
        try:
            self._pipe.send(question)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            raise UnsupportedError(f"{self._who()}: its process ended with exit code {code}") from None
        if isinstance(answer, _Failure):
            raise UnsupportedError(f"{self._who()}: {answer.message}")
        return answer

    def _who(self) -> str:
        return f"{self.runner.runtime.name} cannot run {self.runner.path.name}"


def serve(descriptor: int) -> None:
    """The child's side: answer through the socket ``descriptor`` until the parent closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this ends
    pipe = Connection(descriptor)
    try:
        session = _Session(pipe.recv())
        pipe.send(_guarded(session.first_run))
        while True:
            runs = pipe.recv()
            pipe.send(_guarded(lambda: session.block(runs)))  # noqa: B023 (called at once)
    except (EOFError, OSError):
        return


def _guarded(step: Callable[[], object]) -> object:
    """What ``step`` gives; what a foreign runtime raises instead, whatever it is, becomes one line in the
    parent.
    """
    try:
        return step()
    except Exception as error:
        return _Failure(f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}")


class _Session:
    """The loaded runtime and its inputs, in the child."""

    def __init__(self, load: _Load) -> None:
        self._load = load

    def first_run(self) -> FirstRun:
        before = peak_resident_bytes()
        self._runtime = self._load.runtime(self._load.path, self._load.threads)
        outputs = self._runtime.run(self._load.inputs)
        return FirstRun(outputs, before, peak_resident_bytes())

    def block(self, runs: int) -> list[float]:
        run, inputs = self._runtime.run, self._load.inputs
        clock = time.process_time_ns if self._load.cpu_time else time.perf_counter_ns
        gc.collect()
        gc.disable()
        settled = clock() + _SETTLE_NS
        for _ in range(_SETTLE_RUNS):
            run(inputs)
            if clock() > settled:
                break
        times = []
        for _ in range(runs):
            start = clock()
            run(inputs)
            times.append((clock() - start) / 1e6)
        gc.enable()
        return times


def peak_resident_bytes() -> int:
    """Peak resident set of this process, of this program alone.

    Linux's ``ru_maxrss`` starts at the peak of the process that forked it, so ``VmHWM`` is read where there
    is one.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _Links(tempfile.TemporaryDirectory[str]):
    """A folder that holds this package and nothing else, as links: what another interpreter may import of ours.

    The native module may lie elsewhere than the package (an editable install).
    """

    def __init__(self) -> None:
        super().__init__(prefix="gossamer-")
        package = Path(self.name) / "gossamer"
        package.mkdir()
        for entry in {*(_PACKAGES / "gossamer").iterdir(), Path(_native.__file__)}:
            if not (package / entry.name).exists():
                (package / entry.name).symlink_to(entry)


def _environment(threads: int, packages: Sequence[str]) -> Mapping[str, str]:
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    path = os.pathsep.join(dict.fromkeys(packages))
    # PYTHONSAFEPATH: a file called numpy.py in the current directory is not ours to import.
    return {**os.environ, **dict.fromkeys(pools, str(threads)), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def _has_descriptor(stream: object) -> bool:
    try:
        return isinstance(stream.fileno(), int)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
