"""Multiply-accumulates of a Program: what a dense engine does, and what is left when zeros are skipped.

Counted are Conv, ConvTranspose, Gemm and MatMul, as the literature does; a convolution's padded positions
count. One weight element takes part in one multiply-accumulate at every position where its operation applies
it, so

    macs = elements x positions,    macs executed = kept elements x positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gossamer.artifact.program import Operation, Program
from gossamer.errors import InputError
from gossamer.measure.shapes import Shape, input_shapes, value_shapes
from gossamer.weights import nonzeros, shape

# Operators behind which a weight is still the same weight: its elements are moved or rescaled, not mixed.
_CARRIERS = frozenset(
    {"DequantizeLinear", "Transpose", "Reshape", "Identity", "Cast", "Flatten", "Squeeze", "Unsqueeze"}
)


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates for one example: of all elements, and of those that meet a weight that is not
    zero.
    """

    dense: int
    executed: int


def macs(program: Program) -> tuple[Macs | None, dict[str, Macs | None]]:
    """In total, and by name of the weight, for one example.

    A weight that is in no multiplication (a bias) has zero; None where a shape can only be known by running
    the program. The total includes products of two activations, all of whose multiply-accumulates are
    executed.
    """
    sizes = _known_shapes(program)
    origin = _origins(program)
    products = [(op, _factor(op, origin)) for op in program.operations if _multiplies(op)]
    layers: dict[str, Macs | None] = dict.fromkeys(program.weights, Macs(0, 0))
    activations: list[int | None] = []
    for operation, weight in products:
        if weight is None:
            activations.append(_activation_product(operation, sizes))
        else:
            elements = math.prod(shape(program.weights[weight]))
            layers[weight] = _plus(layers[weight], _positions(operation, sizes, elements), program, weight)
    if None in layers.values() or None in activations:
        return None, layers
    known, more = [m for m in layers.values() if m], sum(n for n in activations if n)
    return Macs(sum(m.dense for m in known) + more, sum(m.executed for m in known) + more), layers


def _positions(operation: Operation, sizes: Mapping[str, Shape], elements: int) -> int | None:
    """How often one of the ``elements`` of the operation's weight is multiplied; None where a shape is not
    known.
    """
    data, result = sizes.get(operation.inputs[0]), sizes.get(operation.outputs[0])
    if data is None or result is None:
        return None
    if operation.op in ("Conv", "ConvInteger"):
        return result[0] * math.prod(result[2:])
    if operation.op == "ConvTranspose":
        return data[0] * math.prod(data[2:])
    return math.prod(result) * _depth(operation, data) // max(elements, 1)


def _known_shapes(program: Program) -> dict[str, Shape]:
    try:
        return value_shapes(program, input_shapes(program, batch=1))
    except InputError:  # a sequence length, an image size that is chosen at run time
        return value_shapes(program, {})


def _multiplies(operation: Operation) -> bool:
    names = ("Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger")
    return not operation.domain and operation.op in names


def _origins(program: Program) -> dict[str, str]:
    """Value name -> the weight that it carries, through operators that only move or rescale its elements."""
    origin = {name: name for name in program.weights}
    for operation in program.operations:
        if operation.op in _CARRIERS and not operation.domain and operation.inputs[0] in origin:
            origin[operation.outputs[0]] = origin[operation.inputs[0]]
    return origin


def _factor(operation: Operation, origin: Mapping[str, str]) -> str | None:
    """The weight that the operation multiplies with; None for a product of two activations."""
    return next((origin[name] for name in reversed(operation.inputs[:2]) if name in origin), None)


def _depth(operation: Operation, first: Shape) -> int:
    """Length of the dimension that Gemm and MatMul sum over, from the shape of their first operand."""
    return first[0] if operation.op == "Gemm" and operation.attributes.get("transA") else first[-1]


def _activation_product(operation: Operation, sizes: Mapping[str, Shape]) -> int | None:
    second = sizes.get(operation.inputs[1])
    if second is None:
        return None
    times = _positions(operation, sizes, math.prod(second))
    return None if times is None else math.prod(second) * times


def _plus(before: Macs | None, times: int | None, program: Program, name: str) -> Macs | None:
    if before is None or times is None:
        return None
    weight = program.weights[name]
    return Macs(before.dense + math.prod(shape(weight)) * times, before.executed + nonzeros(weight) * times)
