"""convert: from a Program whose values are quantized (QDQ) to one that computes with integers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from gossamer.artifact.program import Attribute, Operation, Program

from .. import values as known
from ..simplifying import without_dead
from . import attention, layers, moves, pointwise, pools, sums
from .check import check_integer
from .conversion import DOMAIN, Conversion
from .values import BYTES, Pointwise, Scaled

_OPERATORS: dict[str, Callable[[Conversion], None]] = {
    "Conv": layers.convolution,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "Gather": layers.gather,
    "BatchNormalization": layers.batch_norm,
    "Add": sums.add,
    "Sub": sums.add,
    "Mul": sums.multiply,
    "Div": sums.multiply,
    **dict.fromkeys(("Relu", "Clip", "Max", "Min"), pointwise.clamp),
    "MaxPool": pools.max_pool,
    "AveragePool": pools.average_pool,
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean", "ReduceSum"), pools.mean),
    "Softmax": attention.softmax,
    "Gelu": attention.gelu,
    "LayerNormalization": attention.layer_norm,
    "Transpose": moves.transposed,
    "Shape": moves.measured,
    "Size": moves.measured,
    "Identity": moves.same,
    "Pad": moves.padded,
    "Where": moves.chosen,
    "Concat": moves.concatenated,
    "Expand": moves.expanded,
    **dict.fromkeys(
        (
            *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Tile"),
            *("DepthToSpace", "SpaceToDepth", "GatherElements", "GatherND"),
        ),
        moves.moved,
    ),
    **dict.fromkeys(
        (
            *("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu", "LeakyRelu", "PRelu", "Selu", "Celu"),
            *(
                "Softplus",
                "Softsign",
                "Mish",
                "Swish",
                "Abs",
                "Neg",
                "Exp",
                "Log",
                "Sqrt",
                "Reciprocal",
                "Pow",
            ),
            *("Erf", "Sin", "Cos", "Atan", "Floor", "Ceil", "Round", "Sign", "ThresholdedRelu"),
        ),
        pointwise.function,
    ),
}


def convert(program: Program) -> Program:
    """``program`` with integers in the place of its floats, but for one QuantizeLinear of each float input and one
    DequantizeLinear in front of each float output.

    Every float value between operators has a QuantizeLinear and DequantizeLinear, or is one that needs none (sums that
    a bias, a clamp or a quantization follows). Raises UnsupportedError, naming layer and operator, for what has no form
    in integers. The result is checked (:func:`check_integer`).
    """
    c = Conversion(program, known.infer(program))
    outputs = {port.name for port in program.outputs}
    for operation in program.operations:
        c.at = operation
        _convert(c, operation)
        for name in outputs.intersection(operation.outputs):
            _leave(c, name)
    converted = without_dead(
        replace(
            program,
            operations=tuple(_with_own_names(c.operations)),
            weights=c.weights,
            opsets={**program.opsets, DOMAIN: 1},
        )
    )
    check_integer(converted)
    return converted


def _with_own_names(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Where a layer became several operations, its product alone has its name, and others the operator's behind it."""
    taken = set(parts := Counter(operation.name for operation in operations))
    owners: set[str] = set()
    for operation in operations:
        is_product = operation.op.endswith("Integer") and operation.name not in owners
        if not operation.name or parts[operation.name] == 1 or is_product:
            owners.add(operation.name)
            yield operation
            continue
        name = like = f"{operation.name}.{operation.op}"
        numbers = count(1)
        while name in taken:
            name = f"{like}.{next(numbers)}"
        taken.add(name)
        yield replace(operation, name=name)


def _convert(c: Conversion, operation: Operation) -> None:
    if operation.op == "QuantizeLinear":
        _quantize(c, operation)
    elif operation.op == "DequantizeLinear":
        found = c.values.get(operation.inputs[0])
        if found is None:
            raise c.refuse("integers that no QuantizeLinear made")
        c.give(found)
    elif operation.domain or not _computes_floats(c, operation):
        c.operations.append(operation)
    elif operation.op in _OPERATORS:
        _OPERATORS[operation.op](c)
    else:
        raise c.refuse(
            "it has no form in integers; leave Quantize's integer_only out, or write it with other operators"
        )


def _computes_floats(c: Conversion, operation: Operation) -> bool:
    return any(
        name in c.values or c.is_float(name) for name in (*operation.inputs, *operation.outputs) if name
    )


def _quantize(c: Conversion, operation: Operation) -> None:
    """At the border: as it is. Else a Requantize, a table, or nothing."""
    grid = c.grid(operation)
    name = operation.inputs[0]
    if name in c.entering:
        if grid.dtype not in BYTES:
            raise c.refuse("an input in more than 8 bits")
        entering, low, high = c.entering[name]
        c.operations.append(replace(operation, inputs=(entering, *operation.inputs[1:])))
        x = Scaled(operation.outputs[0], grid.dtype, np.asarray(grid.scale), grid.zero)
        c.give(c.clamped(x.clamped(low, high)) if np.isfinite([low, high]).any() else x)
        return
    value = c.values.get(name)
    if isinstance(value, Pointwise):
        c.give(pointwise.table(c, value, grid))
        return
    x = c.scaled(0)
    c.give(Scaled(c.requantized(x, grid), grid.dtype, np.asarray(grid.scale), grid.zero))


def _leave(c: Conversion, name: str) -> None:
    """An output of the Program in floats again."""
    value = c.values.get(name)
    if value is None:
        return  # made of integers from the beginning: labels, masks
    if isinstance(value, Pointwise):
        raise c.refuse("an output that is a function of one element and not quantized")
    x = c.clamped(value) if value.is_clamped else value
    scale = c.hold(x.scale.astype(np.float32).reshape(() if x.is_one else -1), "scale")
    zero = c.hold(np.asarray(x.zero, x.dtype), "zero_point") if x.zero else ""
    attributes: dict[str, Attribute] = {} if x.is_one else {"axis": x.axis}
    made = x.name
    if made == name:  # the operation that made the integers wrote the output's name
        made = c.fresh(f"{name}.ints")
        c.rename(name, made)
    c.emit("DequantizeLinear", [made, scale, zero], attributes, name)
