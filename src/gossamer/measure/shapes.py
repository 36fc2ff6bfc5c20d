"""Shapes of every value of a Program, from the shapes of its inputs. Arithmetic on tuples; nothing runs.

The rules are those of the ONNX operators. A value whose operator has no rule here, or that depends on numbers
known only at run time, has no shape (it is absent from the answer), and neither has what follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from gossamer.artifact.program import Operation, Port, Program
from gossamer.errors import InputError
from gossamer.weights import decode, shape

Shape: TypeAlias = tuple[int, ...]
# A rule gets the operation, the shapes of its inputs (in order, () for an absent one) and the constants among
# them.
_Constants: TypeAlias = "list[list[int] | None]"
_Rule: TypeAlias = "Callable[[Operation, list[Shape], _Constants], Shape]"


def value_shapes(program: Program, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shape by name of every input, weight and operation output whose shape can be known without running.

    ``inputs``: shapes of inputs by name; those that are left out are not known.
    """
    known = {name: shape(weight) for name, weight in program.weights.items()} | dict(inputs)
    for operation in program.operations:
        for name, size in zip(operation.outputs, _outputs(operation, known, program), strict=False):
            if name:
                known[name] = size
    return known


def input_shapes(program: Program, batch: int, sizes: Mapping[str, int] | None = None) -> dict[str, Shape]:
    """Shape of every input by name, where the first dimension is ``batch`` unless the program fixes it.

    ``sizes``: further dimensions by name. Raises ``InputError`` for a dimension that is neither fixed nor
    chosen.
    """
    chosen = dict(sizes or {})
    for port in program.inputs:
        if port.shape and isinstance(port.shape[0], str):
            chosen.setdefault(port.shape[0], batch)
    return {port.name: _input_shape(port, chosen, batch) for port in program.inputs}


def _input_shape(port: Port, chosen: Mapping[str, int], batch: int) -> Shape:
    if port.shape is None:
        raise InputError(f"input {port.name!r} has no rank, so no input can be made up for it")
    result = []
    for axis, size in enumerate(port.shape):
        number = chosen.get(size) if isinstance(size, str) else batch if size is None and axis == 0 else size
        if number is None:
            raise InputError(
                f"dimension {size or axis!r} of input {port.name!r} is not fixed: give it a size"
            )
        result.append(number)
    return tuple(result)


def _outputs(operation: Operation, known: Mapping[str, Shape], program: Program) -> list[Shape]:
    rule = _RULES.get(operation.op) if operation.domain in ("", "gossamer") else None
    if rule is None or any(name and name not in known for name in operation.inputs):
        return []
    sizes = [known[name] if name else () for name in operation.inputs]
    constants = [_integers(name, program) for name in operation.inputs]
    try:
        return [rule(operation, sizes, constants)]
    except _UnknownShapeError:
        return []


class _UnknownShapeError(Exception):
    """The shape depends on what is known only at run time."""


def _integers(name: str, program: Program) -> list[int] | None:
    weight = program.weights.get(name)
    if weight is None or len(shape(weight)) > 1:
        return None
    values = decode(weight)
    return [int(v) for v in np.atleast_1d(values)] if np.issubdtype(values.dtype, np.integer) else None


def _ints(operation: Operation, name: str, default: Shape) -> Shape:
    value = operation.attributes.get(name, default)
    return tuple(int(v) for v in value) if isinstance(value, (tuple, list)) else default


def _int(operation: Operation, name: str, default: int) -> int:
    value = operation.attributes.get(name, default)
    return value if isinstance(value, int) else default


def _same(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    return sizes[0]


def _broadcast(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    return tuple(int(n) for n in np.broadcast_shapes(*sizes))


def window_output(operation: Operation, size: Shape, kernel: Shape) -> Shape:
    """Spatial sizes after a convolution or a pooling window of spatial sizes ``kernel`` over spatial sizes
    ``size``.
    """
    rank = len(kernel)
    strides, dilations = _ints(operation, "strides", (1,) * rank), _ints(operation, "dilations", (1,) * rank)
    automatic = operation.attributes.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        return tuple(-(-n // s) for n, s in zip(size, strides, strict=True))
    pads = _ints(operation, "pads", (0,) * 2 * rank) if automatic == "NOTSET" else (0,) * 2 * rank
    ceil = _int(operation, "ceil_mode", 0)
    result = []
    for i in range(rank):
        free = size[i] + pads[i] + pads[i + rank] - dilations[i] * (kernel[i] - 1) - 1
        steps = -(-free // strides[i]) if ceil else free // strides[i]
        if ceil and steps * strides[i] >= size[i] + pads[i]:
            steps -= 1  # the last window would start in the padding behind: ONNX drops it
        result.append(steps + 1)
    return tuple(result)


def _conv(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    data, weight = sizes[0], sizes[1]
    return (data[0], weight[0], *window_output(operation, data[2:], weight[2:]))


def _conv_transpose(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    data, weight = sizes[0], sizes[1]
    rank = len(data) - 2
    if "output_shape" in operation.attributes or operation.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise _UnknownShapeError
    strides, dilations = _ints(operation, "strides", (1,) * rank), _ints(operation, "dilations", (1,) * rank)
    pads, extra = _ints(operation, "pads", (0,) * 2 * rank), _ints(operation, "output_padding", (0,) * rank)
    spatial = (
        strides[i] * (data[i + 2] - 1)
        + extra[i]
        + dilations[i] * (weight[i + 2] - 1)
        + 1
        - pads[i]
        - pads[i + rank]
        for i in range(rank)
    )
    return (data[0], weight[1] * _int(operation, "group", 1), *spatial)


def _pool(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    return (*sizes[0][:2], *window_output(operation, sizes[0][2:], _ints(operation, "kernel_shape", ())))


def _global_pool(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    return (*sizes[0][:2], *(1 for _ in sizes[0][2:]))


def _gemm(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    a, b = sizes[0], sizes[1]
    return (a[1] if _int(operation, "transA", 0) else a[0], b[0] if _int(operation, "transB", 0) else b[1])


def _matmul(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    a, b = sizes[0], sizes[1]
    rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
    return (*(int(n) for n in np.broadcast_shapes(a[:-2], b[:-2])), *rows, *columns)


def _flatten(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    axis = _int(operation, "axis", 1)
    return (math.prod(sizes[0][:axis]), math.prod(sizes[0][axis:]))


def _reshape(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    wanted = constants[1]
    if wanted is None:
        raise _UnknownShapeError
    keep_zero = not _int(operation, "allowzero", 0)
    target = [sizes[0][i] if n == 0 and keep_zero else n for i, n in enumerate(wanted)]
    rest = math.prod(n for n in target if n != -1)
    return tuple(math.prod(sizes[0]) // rest if n == -1 else n for n in target)


def _transpose(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    order = _ints(operation, "perm", tuple(reversed(range(len(sizes[0])))))
    return tuple(sizes[0][i] for i in order)


def _concat(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    axis = _int(operation, "axis", 0) % len(sizes[0])
    return (*sizes[0][:axis], sum(s[axis] for s in sizes), *sizes[0][axis + 1 :])


def _axes(operation: Operation, sizes: list[Shape], constants: _Constants) -> list[int] | None:
    """The axes of Reduce*, Squeeze and Unsqueeze: an attribute in old opsets, a second input in new ones."""
    if len(sizes) > 1 and operation.inputs[1]:
        if constants[1] is None:
            raise _UnknownShapeError
        return constants[1]
    return list(_ints(operation, "axes", ())) or None


def _reduce(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    rank, axes = len(sizes[0]), _axes(operation, sizes, constants)
    if axes is None and _int(operation, "noop_with_empty_axes", 0):
        return sizes[0]
    gone = set(range(rank)) if axes is None else {a % rank for a in axes}
    if _int(operation, "keepdims", 1):
        return tuple(1 if i in gone else n for i, n in enumerate(sizes[0]))
    return tuple(n for i, n in enumerate(sizes[0]) if i not in gone)


def _squeeze(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    axes = _axes(operation, sizes, constants)
    gone = (
        {i for i, n in enumerate(sizes[0]) if n == 1} if axes is None else {a % len(sizes[0]) for a in axes}
    )
    return tuple(n for i, n in enumerate(sizes[0]) if i not in gone)


def _unsqueeze(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    axes = _axes(operation, sizes, constants) or []
    rank = len(sizes[0]) + len(axes)
    new, old = {a % rank for a in axes}, iter(sizes[0])
    return tuple(1 if i in new else next(old) for i in range(rank))


def _pad(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    pads = constants[1] if len(sizes) > 1 else list(_ints(operation, "pads", ()))
    if pads is None or len(pads) != 2 * len(sizes[0]):
        raise _UnknownShapeError
    return tuple(n + pads[i] + pads[i + len(sizes[0])] for i, n in enumerate(sizes[0]))


def _gather(operation: Operation, sizes: list[Shape], constants: _Constants) -> Shape:
    data, index = sizes
    axis = _int(operation, "axis", 0) % len(data)
    return (*data[:axis], *index, *data[axis + 1 :])


def _for(rule: _Rule, operators: str) -> dict[str, _Rule]:
    return dict.fromkeys(operators.split(), rule)


_RULES: dict[str, _Rule] = {
    **_for(_same, "Relu LeakyRelu PRelu Elu Selu Sigmoid Tanh Gelu HardSwish HardSigmoid Mish Softplus Clip"),
    **_for(_same, "Erf Exp Log Sqrt Neg Abs Softmax LogSoftmax Identity Dropout Cast LpNormalization"),
    **_for(_same, "BatchNormalization LayerNormalization InstanceNormalization GroupNormalization"),
    **_for(_same, "QuantizeLinear DequantizeLinear"),
    **_for(_broadcast, "Add Sub Mul Div Pow Max Min Where Sum"),
    **_for(_pool, "MaxPool AveragePool"),
    **_for(_global_pool, "GlobalAveragePool GlobalMaxPool"),
    **_for(_reduce, "ReduceMean ReduceSum ReduceMax ReduceMin"),
    **_for(_same, "Requantize IntegerSoftmax IntegerGelu IntegerLayerNorm"),
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gather": _gather,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Pad": _pad,
}
