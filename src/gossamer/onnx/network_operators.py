"""ONNX operators as functions of torch: (operation, inputs) -> output or tuple of outputs, as in the standard.

Inputs are tensors; small integer constants are NumPy arrays, and shapes that depend on the batch are lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor

from gossamer.artifact.program import Operation
from gossamer.errors import UnsupportedError

from .network_recurrent import recurrent
from .tensors import dtype_name

Function = Callable[..., Any]


def _tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """A value as a tensor."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list):
        return torch.stack([torch.as_tensor(part) for part in value])
    return torch.as_tensor(value, device=None if like is None else like.device)


def _ints(value: Any) -> list[Any]:
    """A value as sizes: numbers, and symbols where they depend on the batch."""
    return value if isinstance(value, list) else np.asarray(value).reshape(-1).tolist()


def _attribute(operation: Operation, name: str, default: Any) -> Any:
    return operation.attributes.get(name, default)


def _unsupported(operation: Operation, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"passes cannot work on the {operation.op} {operation.name!r} of this file: {why}"
    )


# --- elements --------------------------------------------------------------------------------------------------------


def _unary(function: Function) -> Function:
    return lambda operation, x: function(_tensor(x))


def _binary(function: Callable[[Any, Any], Any]) -> Function:
    def apply(operation: Operation, a: Any, b: Any) -> Any:
        if isinstance(a, list) or isinstance(b, list):  # shape arithmetic
            a, b = _ints(a), _ints(b)
            size = max(len(a), len(b))
            return [function(x, y) for x, y in zip(a * (size // len(a)), b * (size // len(b)), strict=True)]
        like = a if isinstance(a, Tensor) else b
        return function(_tensor(a, like), _tensor(b, like))

    return apply


def _divide(a: Any, b: Any) -> Any:
    whole = not isinstance(a, Tensor) or not a.is_floating_point()
    if not whole:
        return a / b
    return torch.div(a, b, rounding_mode="trunc") if isinstance(a, Tensor) else a // b


def _many(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    def apply(operation: Operation, *inputs: Any) -> Tensor:
        result = _tensor(inputs[0])
        for other in inputs[1:]:
            result = function(result, _tensor(other, result))
        return result

    return apply


def _clip(operation: Operation, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    low, high = _attribute(operation, "min", low), _attribute(operation, "max", high)
    return torch.clamp(x, None if low is None else _number(low), None if high is None else _number(high))


def _number(value: Any) -> Any:
    """The one number of a constant: read from the file, not while the network runs."""
    if isinstance(value, Tensor):
        raise UnsupportedError("bounds that are computed while running are not supported")
    return float(np.asarray(value).item())


def _prelu(operation: Operation, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x >= 0, x, x * slope)


def _gelu(operation: Operation, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=_attribute(operation, "approximate", "none"))


def _cast(operation: Operation, x: Any) -> Any:
    to = int(_attribute(operation, "to", TensorProto.FLOAT))
    if isinstance(x, list):
        return x if to == TensorProto.INT64 else _tensor(x).to(getattr(torch, dtype_name(to, "Cast")))
    if isinstance(x, np.ndarray):
        return x.astype(dtype_name(to, "Cast"))
    return x.to(getattr(torch, dtype_name(to, "Cast")))


def _where(operation: Operation, condition: Any, a: Any, b: Any) -> Tensor:
    like = next((v for v in (condition, a, b) if isinstance(v, Tensor)), None)
    return torch.where(_tensor(condition, like), _tensor(a, like), _tensor(b, like))


# --- products --------------------------------------------------------------------------------------------------------


def _gemm(operation: Operation, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    alpha, beta = _attribute(operation, "alpha", 1.0), _attribute(operation, "beta", 1.0)
    a = a.T if _attribute(operation, "transA", 0) else a
    if _attribute(operation, "transB", 0) and alpha == 1 and (c is None or (beta == 1 and c.ndim == 1)):
        return F.linear(a, b, c)
    product = a @ (b.T if _attribute(operation, "transB", 0) else b)
    product = product if alpha == 1 else product * alpha
    return product if c is None else product + (c if beta == 1 else c * beta)


def _pads(operation: Operation, x: Tensor, kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Padding in front of and behind each spatial dimension."""
    rank, mode = len(kernel), _attribute(operation, "auto_pad", "NOTSET")
    strides = _attribute(operation, "strides", (1,) * rank)
    dilations = _attribute(operation, "dilations", (1,) * rank)
    if mode == "NOTSET":
        pads = list(_attribute(operation, "pads", (0,) * (2 * rank)))
        return pads[:rank], pads[rank:]
    begin, end = [0] * rank, [0] * rank
    if mode != "VALID":
        for i in range(rank):
            size = int(x.shape[2 + i])
            total = max(
                0, (-(-size // strides[i]) - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - size
            )
            small, large = total // 2, total - total // 2
            begin[i], end[i] = (small, large) if mode == "SAME_UPPER" else (large, small)
    return begin, end


def _around(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """As F.pad has it: the last dimension first."""
    return [n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair]


_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _conv(operation: Operation, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = w.shape[2:]
    begin, end = _pads(operation, x, kernel)
    if list(begin) != list(end):
        x, begin = F.pad(x, _around(begin, end)), [0] * len(kernel)
    strides, dilations = (
        list(_attribute(operation, n, (1,) * len(kernel))) for n in ("strides", "dilations")
    )
    function: Any = _CONVOLUTIONS[len(kernel)]
    return function(x, w, bias, strides, begin, dilations, _attribute(operation, "group", 1))  # type: ignore[no-any-return]


def _conv_transpose(operation: Operation, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = w.ndim - 2
    begin, end = _pads(operation, x, w.shape[2:])
    if (
        list(begin) != list(end)
        or "output_shape" in operation.attributes
        or "auto_pad" in operation.attributes
    ):
        raise _unsupported(operation, "its padding differs in front and behind, or is found while running")
    strides, dilations = (list(_attribute(operation, n, (1,) * rank)) for n in ("strides", "dilations"))
    extra = list(_attribute(operation, "output_padding", (0,) * rank))
    function: Any = _TRANSPOSED[rank]
    groups = _attribute(operation, "group", 1)
    return function(x, w, bias, strides, begin, extra, groups, dilations)  # type: ignore[no-any-return]


# --- windows, means, norms -------------------------------------------------------------------------------------------

_MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _pool(operation: Operation, x: Tensor) -> Tensor:
    kernel = list(operation.attributes["kernel_shape"])  # type: ignore[arg-type]
    rank, largest = len(kernel), operation.op == "MaxPool"
    strides = list(_attribute(operation, "strides", (1,) * rank))
    begin, end = _pads(operation, x, kernel)
    ceil = bool(_attribute(operation, "ceil_mode", 0))
    counts = bool(_attribute(operation, "count_include_pad", 0))
    if list(begin) != list(end) or any(2 * p > k for p, k in zip(begin, kernel, strict=True)):
        if not largest and not counts:
            raise _unsupported(operation, "padding that differs in front and behind and does not count")
        x = F.pad(x, _around(begin, end), value=-math.inf if largest else 0.0)
        begin = [0] * rank
    if largest:
        dilations = list(_attribute(operation, "dilations", (1,) * rank))
        return _MAXIMA[rank](x, kernel, strides, begin, dilations, ceil)
    function: Any = _MEANS[rank]
    return function(x, kernel, strides, begin, ceil, counts)  # type: ignore[no-any-return]


def _global_mean(operation: Operation, x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def _reduce(function: Callable[..., Tensor]) -> Function:
    def apply(operation: Operation, x: Tensor, axes: Any = None) -> Tensor:
        axes = _attribute(operation, "axes", axes)
        found = list(range(x.ndim)) if axes is None or len(_ints(axes)) == 0 else _ints(axes)
        if axes is None and _attribute(operation, "noop_with_empty_axes", 0):
            return x
        return function(x, found, bool(_attribute(operation, "keepdims", 1)))

    return apply


def _batch_norm(
    operation: Operation, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor
) -> Tensor:
    return F.batch_norm(x, mean, var, gamma, beta, False, 0.1, _attribute(operation, "epsilon", 1e-5))


def _instance_norm(operation: Operation, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return F.instance_norm(x, weight=gamma, bias=beta, eps=_attribute(operation, "epsilon", 1e-5))


def _group_norm(operation: Operation, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    groups = int(_attribute(operation, "num_groups", 1))
    return F.group_norm(x, groups, gamma, beta, _attribute(operation, "epsilon", 1e-5))


def _layer_norm(operation: Operation, x: Tensor, gamma: Tensor, beta: Tensor | None = None) -> Tensor:
    axis = int(_attribute(operation, "axis", -1)) % x.ndim
    return F.layer_norm(x, list(x.shape[axis:]), gamma, beta, _attribute(operation, "epsilon", 1e-5))


def _softmax(function: Callable[[Tensor, int], Tensor]) -> Function:
    return lambda operation, x: function(x, int(_attribute(operation, "axis", -1)))


# --- shapes ----------------------------------------------------------------------------------------------------------


def _shape(operation: Operation, x: Tensor) -> list[Any]:
    return list(x.shape)[_attribute(operation, "start", None) : _attribute(operation, "end", None)]


def _reshape(operation: Operation, x: Any, shape: Any) -> Any:
    wanted = _ints(shape)
    if not isinstance(x, Tensor):
        return x if len(wanted) == 1 and isinstance(x, list) else np.asarray(x).reshape(wanted)
    if not _attribute(operation, "allowzero", 0):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(operation: Operation, x: Tensor) -> Tensor:
    axis = int(_attribute(operation, "axis", 1))
    axis = axis + x.ndim if axis < 0 else axis
    return x.flatten(1) if axis == 1 else x.reshape(math.prod(x.shape[:axis]), -1)


def _transpose(operation: Operation, x: Tensor) -> Tensor:
    return x.permute(_attribute(operation, "perm", tuple(reversed(range(x.ndim)))))


def _squeeze(operation: Operation, x: Any, axes: Any = None) -> Any:
    axes = _attribute(operation, "axes", axes)
    if isinstance(x, list):
        return x[0] if len(x) == 1 else x
    if isinstance(x, np.ndarray):
        return x.squeeze(None if axes is None else tuple(_ints(axes)))
    return x.squeeze() if axes is None else x.squeeze(_ints(axes))


def _unsqueeze(operation: Operation, x: Any, axes: Any = None) -> Any:
    places = _ints(_attribute(operation, "axes", axes))
    if isinstance(x, int | torch.SymInt):
        return [x]
    if isinstance(x, np.ndarray):
        return np.expand_dims(x, tuple(places))
    rank = x.ndim + len(places)
    for place in sorted(p % rank for p in places):
        x = x.unsqueeze(place)
    return x


def _concat(operation: Operation, *parts: Any) -> Any:
    if any(isinstance(part, list) for part in parts):
        return [size for part in parts for size in _ints(part)]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts, _attribute(operation, "axis", 0))
    like = next(part for part in parts if isinstance(part, Tensor))
    return torch.cat([_tensor(part, like) for part in parts], int(_attribute(operation, "axis", 0)))


def _split(operation: Operation, x: Tensor, sizes: Any = None) -> tuple[Tensor, ...]:
    axis = int(_attribute(operation, "axis", 0))
    sizes = _attribute(operation, "split", sizes)
    if sizes is not None:
        return tuple(torch.split(x, _ints(sizes), axis))
    return tuple(x.chunk(len(operation.outputs), axis))


def _slice(
    operation: Operation, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> Any:
    starts, ends = _ints(_attribute(operation, "starts", starts)), _ints(_attribute(operation, "ends", ends))
    axes = _attribute(operation, "axes", axes)
    places = list(range(len(starts))) if axes is None else _ints(axes)
    strides = [1] * len(starts) if steps is None else _ints(steps)
    if isinstance(x, list):
        return x[starts[0] : ends[0] : strides[0]]
    for start, end, place, stride in zip(starts, ends, places, strides, strict=True):
        if stride < 0:
            raise _unsupported(operation, "it goes backwards")
        index = [slice(None)] * x.ndim
        index[place] = slice(start, None if end >= 2**31 - 1 else end, stride)
        x = x[tuple(index)]
    return x


def _gather(operation: Operation, x: Any, indices: Any) -> Any:
    axis = int(_attribute(operation, "axis", 0))
    if isinstance(x, list):
        picked = [x[i] for i in _ints(indices)]
        return picked[0] if np.ndim(indices) == 0 else picked
    if isinstance(x, np.ndarray) and isinstance(indices, np.ndarray):
        return np.take(x, indices, axis)
    x = _tensor(x)
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        return x.select(axis, int(indices))
    index = _tensor(indices, x).long()
    if axis == 0 and isinstance(x, torch.nn.Parameter) and x.ndim == 2:
        return F.embedding(index, x)
    flat = x.index_select(axis, index.reshape(-1))
    found: Tensor = flat.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return found


def _expand(operation: Operation, x: Any, shape: Any) -> Tensor:
    wanted, tensor = _ints(shape), _tensor(x)
    have = [1] * (len(wanted) - tensor.ndim) + list(tensor.shape)
    wanted = [1] * (len(have) - len(wanted)) + wanted
    return tensor.expand(
        [h if isinstance(w, int) and w == 1 else w for h, w in zip(have, wanted, strict=True)]
    )


def _constant_of_shape(operation: Operation, shape: Any) -> Tensor:
    value = np.asarray(_attribute(operation, "value", np.zeros(1, np.float32))).reshape(-1)
    filled: Tensor = torch.full(_ints(shape), value[0].item(), dtype=torch.from_numpy(value[:1].copy()).dtype)
    return filled


def _range(operation: Operation, start: Any, limit: Any, step: Any) -> Tensor:
    bounds: list[Any] = [
        v if isinstance(v, int | torch.SymInt) else np.asarray(v).item() for v in (start, limit, step)
    ]
    return torch.arange(*bounds)


def _pad(operation: Operation, x: Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> Tensor:
    given = _ints(_attribute(operation, "pads", pads))
    rank = len(given) // 2
    places = list(range(x.ndim)) if axes is None else [a % x.ndim for a in _ints(axes)]
    begin, end = [0] * x.ndim, [0] * x.ndim
    for i, place in enumerate(places[:rank]):
        begin[place], end[place] = given[i], given[rank + i]
    first = next((i for i in range(x.ndim) if begin[i] or end[i]), x.ndim)
    if first == x.ndim:
        return x
    around = _around(begin[first:], end[first:])
    mode = {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}.get(
        _attribute(operation, "mode", "constant")
    )
    if mode:
        return F.pad(x, around, mode=mode)
    constant = _attribute(operation, "value", 0.0) if value is None else _number(value)
    return F.pad(x, around, value=constant)


def _resize(
    operation: Operation, x: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None
) -> Tensor:
    mode, how = (
        _attribute(operation, "mode", "nearest"),
        _attribute(operation, "coordinate_transformation_mode", "half_pixel"),
    )
    rank = x.ndim - 2
    if sizes is not None and len(_ints(sizes)):
        wanted = [int(size) for size in _ints(sizes)[2:]]
    else:
        factors = np.asarray(scales).reshape(-1).tolist()[2:]
        wanted = [math.floor(int(x.shape[2 + i]) * factors[i]) for i in range(rank)]
    if mode == "nearest" and (
        how == "asymmetric" or all(w % int(x.shape[2 + i]) == 0 for i, w in enumerate(wanted))
    ):
        if how == "asymmetric" and _attribute(operation, "nearest_mode", "round_prefer_floor") != "floor":
            raise _unsupported(operation, "nearest_mode other than floor")
        return F.interpolate(x, wanted, mode="nearest")
    smooth = {1: "linear", 2: "bilinear", 3: "trilinear"}[rank]
    if mode == "linear" and how in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return F.interpolate(x, wanted, mode=smooth, align_corners=how == "align_corners")
    raise _unsupported(operation, f"mode {mode} with {how} coordinates")


def _depth_to_space(operation: Operation, x: Tensor) -> Tensor:
    if _attribute(operation, "mode", "DCR") != "CRD":
        raise _unsupported(operation, "mode DCR")
    return F.pixel_shuffle(x, int(operation.attributes["blocksize"]))  # type: ignore[arg-type]


_OF_ONE: dict[str, Function] = {
    "Relu": F.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "HardSwish": F.hardswish, "Softplus": F.softplus,
    "Mish": F.mish, "Erf": torch.erf, "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt, "Abs": torch.abs,
    "Neg": torch.neg, "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round, "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal, "Sin": torch.sin, "Cos": torch.cos, "Sign": torch.sign,
}  # fmt: skip
OPERATORS: dict[str, Function] = {
    **{name: _binary(f) for name, f in {
        "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b, "Div": _divide,
        "Pow": lambda a, b: a**b, "Equal": lambda a, b: a == b, "Greater": lambda a, b: a > b,
        "GreaterOrEqual": lambda a, b: a >= b, "Less": lambda a, b: a < b, "LessOrEqual": lambda a, b: a <= b,
        "And": lambda a, b: a & b, "Or": lambda a, b: a | b, "MatMul": lambda a, b: a @ b,
    }.items()},
    **{name: _unary(f) for name, f in _OF_ONE.items()},
    "Identity": lambda operation, x: x,
    "Dropout": lambda operation, x, *rest: x,
    "LeakyRelu": lambda operation, x: F.leaky_relu(x, _attribute(operation, "alpha", 0.01)),
    "Elu": lambda operation, x: F.elu(x, _attribute(operation, "alpha", 1.0)),
    "HardSigmoid": lambda operation, x: (
        F.hardsigmoid(x) if abs(_attribute(operation, "alpha", 0.2) - 1 / 6) < 1e-6
        else (x * _attribute(operation, "alpha", 0.2) + _attribute(operation, "beta", 0.5)).clamp(0, 1)
    ),
    "Gelu": _gelu, "PRelu": _prelu, "Clip": _clip, "Cast": _cast, "Where": _where,
    "Max": _many(torch.maximum), "Min": _many(torch.minimum), "Sum": _many(torch.add),
    "Gemm": _gemm, "Conv": _conv, "ConvTranspose": _conv_transpose,
    "MaxPool": _pool, "AveragePool": _pool, "GlobalAveragePool": _global_mean,
    "GlobalMaxPool": lambda operation, x: x.amax(tuple(range(2, x.ndim)), keepdim=True),
    "ReduceMean": _reduce(torch.mean), "ReduceSum": _reduce(torch.sum), "ReduceMax": _reduce(torch.amax),
    "ReduceMin": _reduce(torch.amin),
    "ReduceL2": _reduce(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "BatchNormalization": _batch_norm, "InstanceNormalization": _instance_norm, "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm, "Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax),
    "Shape": _shape, "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Concat": _concat, "Split": _split, "Slice": _slice, "Gather": _gather, "Expand": _expand,
    "ConstantOfShape": _constant_of_shape, "Range": _range, "Pad": _pad, "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "LSTM": recurrent, "GRU": recurrent, "RNN": recurrent,
    "Tile": lambda operation, x, repeats: x.repeat(_ints(repeats)),
    "ArgMax": lambda operation, x: x.argmax(
        int(_attribute(operation, "axis", 0)), bool(_attribute(operation, "keepdims", 1))
    ),
    "Einsum": lambda operation, *inputs: torch.einsum(str(operation.attributes["equation"]), *inputs),
}  # fmt: skip
