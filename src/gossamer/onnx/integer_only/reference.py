"""run: an integer-only Program in NumPy, exactly: the reference that the Engine equals bit by bit.

Products are computed in float64, whose 53 bits hold every int32 sum exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gossamer.artifact.program import Operation, Program
from gossamer.errors import InputError, UnsupportedError
from gossamer.numerics import integers
from gossamer.weights import Dense, decode

from ..folding import fold

Array: TypeAlias = npt.NDArray[Any]


def run(program: Program, **inputs: Array) -> dict[str, Array]:
    """Every output of ``program`` by name, for inputs by name, as the Engine gives them.

    Raises InputError for inputs that are missing, UnsupportedError for operators that such Programs do not have.
    """
    missing = [port.name for port in program.inputs if port.name not in inputs]
    if missing:
        raise InputError(
            f"inputs {missing} are missing; the Program takes {[p.name for p in program.inputs]}"
        )
    values: dict[str, Array] = {name: decode(weight) for name, weight in program.weights.items()}
    values |= {port.name: np.asarray(inputs[port.name]) for port in program.inputs}
    for operation in program.operations:
        given = [values[name] if name else None for name in operation.inputs]
        results = _results(operation, given, program)
        values.update(zip(operation.outputs, results, strict=False))
    return {port.name: values[port.name] for port in program.outputs}


def _results(operation: Operation, given: list[Array | None], program: Program) -> list[Array]:
    if operation.op in _FUNCTIONS:
        return [_FUNCTIONS[operation.op](operation, *given)]
    named = {n: Dense(np.asarray(v)) for n, v in zip(operation.inputs, given, strict=True) if v is not None}
    found = fold(operation, named, program.opsets)
    if found is None or operation.domain:
        raise UnsupportedError(
            f"operator {operation.op} of {operation.name or operation.outputs[0]}: the reference lacks it"
        )
    return [each.values for each in found]


def _ints(value: Array | None) -> npt.NDArray[np.int64]:
    """Zero where it is absent; else with its zero dimension kept."""
    return np.zeros((), np.int64) if value is None else value.astype(np.int64)


def _quantize(operation: Operation, x: Array, scale: Array, zero: Array | None = None) -> Array:
    del operation
    zero = np.zeros((), np.uint8) if zero is None else zero
    info = np.iinfo(zero.dtype)
    steps = np.rint(np.asarray(x, np.float32) / np.asarray(scale, np.float32))
    return np.clip(steps.astype(np.float64) + int(zero.reshape(())), info.min, info.max).astype(zero.dtype)


def _dequantize(operation: Operation, x: Array, scale: Array, zero: Array | None = None) -> Array:
    if scale.size > 1:
        shape = [1] * x.ndim
        shape[int(operation.attributes.get("axis", 1))] = -1  # type: ignore[arg-type]
        scale = scale.reshape(shape)
    return np.asarray((_ints(x) - _ints(zero)).astype(np.float32) * scale.astype(np.float32))


def _requantize(operation: Operation, x: Array, m: Array, n: Array, zero: Array | None = None,
                x_zero: Array | None = None) -> Array:  # fmt: skip
    dtype = np.dtype(np.int32) if zero is None else zero.dtype
    bounds = tuple(int(operation.attributes.get(k, b)) for k, b in (("low", -(2**31)), ("high", 2**31 - 1)))  # type: ignore[arg-type]
    axis = int(operation.attributes.get("axis", 1))  # type: ignore[arg-type]
    points = (int(_ints(zero).reshape(())), int(_ints(x_zero).reshape(())))
    return integers.requantize(x, m, n, *points, axis=axis, dtype=dtype, bounds=bounds)  # type: ignore[arg-type]


def _matmul(
    operation: Operation, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None
) -> Array:
    del operation
    left, right = (_ints(a) - _ints(a_zero)).astype(np.float64), (_ints(b) - _ints(b_zero)).astype(np.float64)
    return _int32(left @ right)


def _convolution(operation: Operation, x: Array, w: Array, x_zero: Array | None = None,
                 w_zero: Array | None = None) -> Array:  # fmt: skip
    rank = x.ndim - 2
    own = _ints(w_zero)
    kernel = (_ints(w) - (own.reshape(-1, *[1] * (w.ndim - 1)) if own.size > 1 else own)).astype(np.float64)
    given = operation.attributes
    strides, dilations = (_per_axis(given.get(name), rank) for name in ("strides", "dilations"))
    pads = _pads(operation, x.shape[2:], w.shape[2:], strides, dilations)
    padded = np.pad((_ints(x) - _ints(x_zero)).astype(np.float64), ((0, 0), (0, 0), *pads))
    out = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(padded.shape[2:], w.shape[2:], strides, dilations, strict=True)
    ]
    groups = int(given.get("group", 1))  # type: ignore[arg-type]
    y = np.zeros((len(x), groups, len(w) // groups, *out))
    inputs = padded.reshape(len(x), groups, -1, *padded.shape[2:])
    kernel = kernel.reshape(groups, -1, *w.shape[1:])
    for tap in np.ndindex(*w.shape[2:]):
        parts = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilations, out, strides, strict=True)
        )
        seen = inputs[(slice(None),) * 3 + parts].reshape(len(x), groups, w.shape[1], -1)
        taken = kernel[(slice(None),) * 3 + tap]
        y += (taken[None] @ seen).reshape(y.shape)
    return _int32(y.reshape(len(x), len(w), *out))


def _per_axis(value: object, rank: int) -> tuple[int, ...]:
    return tuple(int(each) for each in value) if isinstance(value, tuple) and value else (1,) * rank


def _pads(operation: Operation, sizes: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...],
          dilations: tuple[int, ...]) -> list[tuple[int, int]]:  # fmt: skip
    rank, how = len(sizes), operation.attributes.get("auto_pad", "NOTSET")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
        ]
        return [(t // 2, t - t // 2) if how == "SAME_UPPER" else (t - t // 2, t // 2) for t in total]
    pads = operation.attributes.get("pads") or (0,) * 2 * rank
    assert isinstance(pads, tuple)
    return [(int(pads[i]), int(pads[i + rank])) for i in range(rank)]


def _int32(y: npt.NDArray[np.float64]) -> Array:
    return y.astype(np.int64).astype(np.int32)  # wraps, as sums of 32 bits do


def _softmax(operation: Operation, x: Array) -> Array:
    given = {name: int(operation.attributes[name]) for name in ("ln2", "b", "c")}  # type: ignore[arg-type]
    axis, bits = (int(operation.attributes.get(k, d)) for k, d in (("axis", -1), ("bits", 8)))  # type: ignore[arg-type]
    return integers.softmax(x, integers.Exponential(**given), axis=axis, bits=bits)


def _gelu(operation: Operation, x: Array, x_zero: Array | None = None) -> Array:
    b, c = (int(operation.attributes[name]) for name in ("b", "c"))  # type: ignore[arg-type]
    return integers.gelu(x, integers.Gelu(b, c, 1.0), int(_ints(x_zero).reshape(())))


def _layer_norm(operation: Operation, x: Array, weight: Array, bias: Array | None = None) -> Array:
    bits = int(operation.attributes["fraction_bits"])  # type: ignore[arg-type]
    return integers.layer_norm(x, weight, bias, fraction_bits=bits)


def _max_pool(operation: Operation, x: Array) -> Array:
    given, rank = operation.attributes, x.ndim - 2
    kernel = _per_axis(given["kernel_shape"], rank)
    strides, dilations = (_per_axis(given.get(name), rank) for name in ("strides", "dilations"))
    pads = _pads(operation, x.shape[2:], kernel, strides, dilations)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if given.get("ceil_mode"):
        pads = [
            (a, b + (-(n + a + b - span) % s if (n + a + b - span) % s else 0))
            for (a, b), n, span, s in zip(pads, x.shape[2:], spans, strides, strict=True)
        ]
    least = np.iinfo(x.dtype).min
    padded = np.pad(x, ((0, 0), (0, 0), *pads), constant_values=least)
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, tuple(range(2, 2 + rank)))
    steps = (
        (slice(None),) * 2
        + tuple(slice(None, None, s) for s in strides)
        + tuple(slice(None, None, d) for d in dilations)
    )
    return np.asarray(windows[steps].max(tuple(range(-rank, 0))))


def _reduce_sum(operation: Operation, x: Array, axes: Array) -> Array:
    keep = bool(operation.attributes.get("keepdims", 1))
    total = _ints(x).sum(tuple(int(a) for a in axes), keepdims=keep)
    return np.asarray(total.astype(x.dtype))


def _gather(operation: Operation, x: Array, index: Array) -> Array:
    return np.take(x, index.astype(np.int64), int(operation.attributes.get("axis", 0)))  # type: ignore[arg-type]


_FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Requantize": _requantize,
    "MatMulInteger": _matmul,
    "ConvInteger": _convolution,
    "IntegerSoftmax": _softmax,
    "IntegerGelu": _gelu,
    "IntegerLayerNorm": _layer_norm,
    "MaxPool": _max_pool,
    "ReduceSum": _reduce_sum,
    "Gather": _gather,
    "Add": lambda operation, a, b: (
        np.asarray((_ints(a) + _ints(b)).astype(np.int32)) if a.dtype == np.int32 else a + b
    ),
    "Sub": lambda operation, a, b: (
        np.asarray((_ints(a) - _ints(b)).astype(np.int32)) if a.dtype == np.int32 else a - b
    ),
    "Mul": lambda operation, a, b: (
        np.asarray((_ints(a) * _ints(b)).astype(np.int32)) if a.dtype == np.int32 else a * b
    ),
}
