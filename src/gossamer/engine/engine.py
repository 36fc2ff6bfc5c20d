"""Engine: a network that runs, on NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gossamer import _native, artifact
from gossamer.artifact.layout import MAGIC
from gossamer.artifact.program import Port, Program
from gossamer.errors import InputError, UnsupportedError

from .explanation import Step
from .lowering import native_model

Array: TypeAlias = npt.NDArray[np.generic]
_PRECISIONS = ("float32", "bf16")


def operators() -> tuple[str, ...]:
    """The names of the ONNX operators that the engine runs."""
    return tuple(_native.operators())


class Engine:
    """Runs a ``.goss`` file, an ``.onnx`` file, the bytes of one or a Program; depends on NumPy alone.

    ``threads``: at most so many threads work on one call, the caller's among them, and never more than the process has
    processors (``engine.threads`` tells). Several Python threads may call one Engine at a time; the GIL is released.
    ``isa``: "portable", "avx2", "avx512" or "avx512vnni"; None: the environment variable GOSSAMER_ISA if set,
    else the best here.
    ``autotune``: measure, while planning, which way of computing each convolution is the fastest here, and keep
    that in ``$XDG_CACHE_HOME/gossamer`` (or ``~/.cache/gossamer``) for the next time; outputs then differ between
    machines by rounding. False: chosen by rule. None: True if the environment variable GOSSAMER_AUTOTUNE is "1".
    ``precision``: "float32", or "bf16": linear layers and 1x1 convolutions with constant float32 weights round weights
    and inputs to bfloat16 (a relative error of 2^-8 each, docs/numerics.md, section 11) and sum in float32. It
    halves what is read of the weights, and is faster on processors with AVX512-BF16; ``explain`` notes where not.

    Raises FormatError (the file or program is not well formed), UnsupportedError (an operator, type or instruction set
    that is not available: named, with what to do), OSError.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes | Program,
        *,
        threads: int = 1,
        isa: str | None = None,
        autotune: bool | None = None,
        precision: str = "float32",
    ) -> None:
        if precision not in _PRECISIONS:
            raise InputError(f"precision={precision!r}: one of {', '.join(map(repr, _PRECISIONS))}")
        program = source if isinstance(source, Program) else _load(source)
        self._inputs, self._outputs = program.inputs, program.outputs
        self._isa = _choose_isa(isa)
        if autotune is None:
            autotune = os.environ.get("GOSSAMER_AUTOTUNE") == "1"
        self._native = _native.NativeEngine(
            native_model(program), _choose_threads(threads), self._isa, autotune, precision == "bf16"
        )
        self._names = tuple(port.name for port in program.inputs)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Name, dtype and shape of every input."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Name, dtype and shape of every output."""
        return self._outputs

    @property
    def isa(self) -> str:
        """The instruction set that the kernels use."""
        return self._isa

    @property
    def threads(self) -> int:
        """How many threads work on one call."""
        return self._native.threads

    def __call__(self, *arrays: npt.ArrayLike, **named: npt.ArrayLike) -> Array | dict[str, Array]:
        """Run. One array per input, in order or by name, or one dict by name; of the input's dtype and shape.

        Returns the output's array where there is one output, else a dict of arrays by output name. Arrays that are not
        contiguous, not aligned or of another byte order are copied. Raises InputError for names, dtypes or shapes that
        do not fit.
        """
        result = None if named else self._native.run_as_they_are(arrays)
        return self._native.run(self._ordered(arrays, named)) if result is None else result

    def run_repeatedly(self, repeats: int, *arrays: npt.ArrayLike, **named: npt.ArrayLike) -> None:
        """Run ``repeats`` times on the same inputs inside one native call: for measurements without Python's share."""
        self._native.run(self._ordered(arrays, named), repeats)

    def explain(self, *arrays: npt.ArrayLike, runs: int = 10, **named: npt.ArrayLike) -> list[Step]:
        """The steps of the plan for these inputs, or for zeros whose open dimensions are 1, and what each takes.

        The network is run ``runs`` times, timed step by step inside the native run loop; 0 leaves the times out. The
        clock is read after every step, some tens of nanoseconds each, so the sum is a little more than a run inside
        the engine takes; Python's share of a call is not in it. Raises InputError as a call does.
        """
        if runs < 0:
            raise InputError(f"runs={runs}: give a number of runs, or 0 for a plan without times")
        examples = self._examples(arrays, named)
        steps = [Step(*row) for row in self._native.explain(examples)]
        if not runs or not steps:
            return steps
        times = np.median(self._native.profile(examples, runs), axis=0) / 1e3
        whole = float(times.sum()) or 1.0
        return [
            replace(step, microseconds=float(time), share=float(time) / whole)
            for step, time in zip(steps, times, strict=True)
        ]

    def macs(self, *arrays: npt.ArrayLike, **named: npt.ArrayLike) -> int:
        """Multiply-accumulates that one call with these inputs executes (as in ``explain``)."""
        return sum(step.macs for step in self.explain(*arrays, runs=0, **named))

    def working_memory(self, *arrays: npt.ArrayLike, **named: npt.ArrayLike) -> int:
        """Bytes of intermediate results that one call with these inputs needs (as in ``explain``)."""
        return self._native.memory(self._examples(arrays, named))[0]

    def _examples(self, arrays: tuple[npt.ArrayLike, ...], named: Mapping[str, npt.ArrayLike]) -> list[Array]:
        return self._ordered(arrays, named) if arrays or named else [_example(port) for port in self._inputs]

    def _ordered(self, arrays: tuple[npt.ArrayLike, ...], named: Mapping[str, npt.ArrayLike]) -> list[Array]:
        if len(arrays) == 1 and not named and isinstance(arrays[0], Mapping):
            return self._ordered((), arrays[0])
        if len(arrays) == len(self._names) and not named:
            return [_as_read(array) for array in arrays]
        values = dict(zip(self._names, arrays, strict=False))
        twice = values.keys() & named.keys()
        values.update(named)
        unknown, missing = named.keys() - set(self._names), set(self._names) - values.keys()
        if len(arrays) > len(self._names) or twice or unknown or missing:
            raise InputError(self._mismatch(len(arrays), sorted(unknown), sorted(missing), sorted(twice)))
        return [_as_read(values[name]) for name in self._names]

    def _mismatch(self, positional: int, unknown: list[str], missing: list[str], twice: list[str]) -> str:
        problems = [
            f"{what} {', '.join(map(repr, names))}"
            for what, names in (("there is no input", unknown), ("missing", missing), ("given twice", twice))
            if names
        ]
        if positional > len(self._names):
            problems.append(f"{positional} arrays given")
        wanted = ", ".join(f"{port.name}: {port.dtype} {port.shape}" for port in self._inputs)
        return f"{'; '.join(problems)}. The inputs are: {wanted or 'none'}"


def _as_read(given: npt.ArrayLike) -> Array:
    """Contiguous, aligned, in this machine's byte order; a copy only where it was not."""
    array: Array = np.require(given, requirements=["C", "ALIGNED"])
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _example(port: Port) -> Array:
    if port.shape is None:
        raise InputError(f"input '{port.name}' may have any number of dimensions: give an example array")
    sizes = [size if isinstance(size, int) else 1 for size in port.shape]
    return np.zeros(sizes, dtype=port.dtype)


def _load(source: str | os.PathLike[str] | bytes) -> Program:
    if isinstance(source, bytes) and source.startswith(MAGIC):
        return artifact.unpack(source)
    if not isinstance(source, bytes) and not os.fspath(source).endswith(".onnx"):
        return artifact.read(source)
    from gossamer.artifact import onnx_reader  # a .goss file loads faster without it

    return onnx_reader.parse(source) if isinstance(source, bytes) else onnx_reader.read(source)


def _choose_isa(asked: str | None) -> str:
    source = "isa" if asked is not None else "the environment variable GOSSAMER_ISA"
    name = asked if asked is not None else os.environ.get("GOSSAMER_ISA") or None
    available = _native.machine_isas()
    if name is None:
        return available[-1]
    if name not in available:
        raise UnsupportedError(f"{source} asks for {name!r}; this machine runs {', '.join(available)}")
    return name


def _choose_threads(asked: int) -> int:
    if asked < 1:
        raise InputError(f"threads={asked}: at least one thread is needed")
    return min(asked, len(os.sched_getaffinity(0)))
