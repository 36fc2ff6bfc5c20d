"""Biases of quantized layers as int32 with S_bias = S_input * S_weight (Jacob et al. 2018, section 2.4).

Runtimes that multiply integers want the bias so, and make it themselves of a float bias. Where a channel's weights are
all but zero, its scale is so small that the bias does not fit 32 bits: ONNX Runtime saturates it without a word, and
whole channels are wrong. Here such a channel gets a larger scale: its weights lose what no output could show. Beside
weights of fewer bits the bias stays in floats, for the units of their sums are coarse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gossamer.artifact.program import Operation, Program, Subgraph
from gossamer.graph import note
from gossamer.weights import Dense, Quantized, decode, shape, spread

_FINE = 8  # bits of weights, the steps of whose sums a bias may be rounded to
_LARGEST = 2.0**30  # of a bias in integers: an accumulator has room beside it
Floats = npt.NDArray[np.float64]


def with_integer_biases(program: Program) -> Program:
    """``program`` with an int32 bias wherever a Conv or Gemm of quantized inputs and weights has one of floats.

    What changes beyond rounding, and what stays in float, is noted with the reason.
    """
    made = {name: operation for operation in program.operations for name in operation.outputs}
    uses = Counter(_reads(program.operations))
    weights = dict(program.weights)
    for operation in program.operations:
        scale = _input_scale(made.get(operation.inputs[0]), program) if _has_plain_bias(operation) else None
        weight, bias = (weights.get(name) for name in operation.inputs[1:3]) if scale else (None, None)
        if scale is None or not isinstance(weight, Quantized) or not isinstance(bias, Dense):
            continue
        if bias.values.dtype != np.float32 or bias.values.ndim != 1 or not _is_by_output(weight, operation):
            continue
        if any(uses[name] != 1 for name in operation.inputs[1:]):
            _stays(operation, "other operations read it, or the weight")
            continue
        pair = _with_bias(operation, weight, bias.values.astype(np.float64), scale) or (weight, bias)
        weights[operation.inputs[1]] = pair[0]
        if weight.bits == _FINE:
            weights[operation.inputs[2]] = pair[1]
    return replace(program, weights=weights)


def _reads(operations: Sequence[Operation]) -> Iterator[str]:
    """The names that the operations read, those of bodies of control flow included."""
    for operation in operations:
        yield from operation.inputs
        for value in operation.attributes.values():
            if isinstance(value, Subgraph):
                yield from _reads(value.operations)
                yield from value.outputs


def _stays(operation: Operation, reason: str) -> None:
    note(
        "onnx",
        f"{operation.name or operation.outputs[0]}: its bias {operation.inputs[2]!r} stays in float32 ({reason}); a "
        "runtime that multiplies integers rounds it as it likes",
    )


def _has_plain_bias(operation: Operation) -> bool:
    if operation.domain or operation.op not in ("Conv", "Gemm") or len(operation.inputs) != 3:
        return False
    factors = {key: operation.attributes.get(key, 1.0) for key in ("alpha", "beta")}
    return all(operation.inputs) and set(factors.values()) == {1.0} and not operation.attributes.get("transA")


def _input_scale(operation: Operation | None, program: Program) -> float | None:
    """The scale of an input that is integers, where there is one for all of it."""
    if operation is None or operation.op != "DequantizeLinear" or operation.domain:
        return None
    scale = program.weights.get(operation.inputs[1])
    return None if scale is None or shape(scale) not in ((), (1,)) else float(decode(scale).reshape(-1)[0])


def _is_by_output(weight: Quantized, operation: Operation) -> bool:
    """Whether the weight is of bytes, with one scale for all or for each output."""
    outputs = 0 if operation.op == "Conv" or operation.attributes.get("transB") else 1
    return weight.ints.dtype.itemsize == 1 and weight.block is None and weight.axis in (None, outputs)


def _with_bias(
    operation: Operation, weight: Quantized, bias: Floats, scale: float
) -> tuple[Quantized, Quantized] | None:
    """The weight, and the bias in integers; None, and a note, where it cannot be."""
    if not np.isfinite(bias).all():
        _stays(operation, "it is not finite")
        return None
    largest = np.abs(bias) / (scale * _LARGEST)
    too_small = weight.scale < largest
    if too_small.any():
        if weight.axis is None:
            _stays(
                operation,
                f"{np.abs(bias).max():.3g} does not fit 32 bits in units of {scale * float(weight.scale):.3g}, the one "
                "scale of all channels: quantize the weights PerChannel()",
            )
            return None
        weight = _rescaled(weight, np.where(too_small, largest, weight.scale).astype(np.float32))
        note(
            "onnx",
            f"{operation.name or operation.outputs[0]}: {int(too_small.sum())} of {too_small.size} channels of "
            f"{operation.inputs[1]!r} have a larger scale in the file, for their bias would not fit 32 bits",
        )
    unit = (np.float32(scale) * weight.scale).astype(np.float32)
    if not (np.isfinite(unit).all() and unit.all()):
        _stays(operation, "the product of the scales is no float32")
        return None
    ints = np.rint(bias / unit.astype(np.float64))
    unit = np.broadcast_to(unit, ints.shape).copy()
    return weight, Quantized(ints.astype(np.int32), unit, np.zeros(len(ints), np.int32), 0, 32)


def _rescaled(weight: Quantized, scale: npt.NDArray[np.float32]) -> Quantized:
    """Nearly the same weight with these, larger scales along its axis."""
    old, new = (spread(each, weight.ints.shape, weight.axis, None) for each in (weight.scale, scale))
    zero = spread(weight.zero_point, weight.ints.shape, weight.axis, None).astype(np.float64)
    ints = np.rint((weight.ints - zero) * (old / new.astype(np.float64)) + zero)
    return replace(weight, ints=ints.astype(weight.ints.dtype), scale=scale)
