"""Functions of elements: of one tensor, of two with broadcasting, of many."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor

from gossamer.artifact.program import Operation

from ..tensors import dtype_name
from .values import Function, attribute, ints, number, tensor


def _unary(function: Function) -> Function:
    return lambda operation, x: function(tensor(x))


def _binary(function: Callable[[Any, Any], Any]) -> Function:
    def apply(operation: Operation, a: Any, b: Any) -> Any:
        if isinstance(a, list) or isinstance(b, list):  # shape arithmetic
            a, b = ints(a), ints(b)
            size = max(len(a), len(b))
            return [function(x, y) for x, y in zip(a * (size // len(a)), b * (size // len(b)), strict=True)]
        like = a if isinstance(a, Tensor) else b
        return function(tensor(a, like), tensor(b, like))

    return apply


def _divide(a: Any, b: Any) -> Any:
    whole = not isinstance(a, Tensor) or not a.is_floating_point()
    if not whole:
        return a / b
    return torch.div(a, b, rounding_mode="trunc") if isinstance(a, Tensor) else a // b


def _modulo(operation: Operation, a: Any, b: Any) -> Any:
    if isinstance(a, list) or isinstance(b, list):
        return _binary(lambda x, y: x % y)(operation, a, b)
    a = tensor(a, b if isinstance(b, Tensor) else None)
    function = torch.fmod if attribute(operation, "fmod", 0) else torch.remainder
    return function(a, tensor(b, a))


def _shift(operation: Operation, a: Any, b: Any) -> Tensor:
    left = operation.attributes["direction"] == "LEFT"
    a = tensor(a)
    return torch.bitwise_left_shift(a, tensor(b, a)) if left else torch.bitwise_right_shift(a, tensor(b, a))


def _many(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    def apply(operation: Operation, *inputs: Any) -> Tensor:
        result = tensor(inputs[0])
        for other in inputs[1:]:
            result = function(result, tensor(other, result))
        return result

    return apply


def _mean(operation: Operation, *inputs: Any) -> Any:
    return _many(torch.add)(operation, *inputs) / len(inputs)


def _clip(operation: Operation, x: Any, low: Any = None, high: Any = None) -> Tensor:
    low, high = attribute(operation, "min", low), attribute(operation, "max", high)
    bounds = [None if bound is None else number(bound) for bound in (low, high)]
    return tensor(x) if bounds == [None, None] else torch.clamp(tensor(x), *bounds)


def _prelu(operation: Operation, x: Tensor, slope: Any) -> Tensor:
    return torch.where(x >= 0, x, x * tensor(slope, x))


def _gelu(operation: Operation, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=attribute(operation, "approximate", "none"))


def _hard_sigmoid(operation: Operation, x: Tensor) -> Tensor:
    alpha, beta = attribute(operation, "alpha", 0.2), attribute(operation, "beta", 0.5)
    return F.hardsigmoid(x) if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5 else (x * alpha + beta).clamp(0, 1)


def _selu(operation: Operation, x: Tensor) -> Tensor:
    alpha = attribute(operation, "alpha", 1.67326319217681)
    return F.elu(x, alpha) * float(attribute(operation, "gamma", 1.05070102214813))


def _celu(operation: Operation, x: Tensor) -> Tensor:
    return F.celu(x, attribute(operation, "alpha", 1.0))


def _threshold(operation: Operation, x: Tensor) -> Tensor:
    return F.threshold(x, attribute(operation, "alpha", 1.0), 0.0)


def _shrink(operation: Operation, x: Tensor) -> Tensor:
    bias, bound = attribute(operation, "bias", 0.0), attribute(operation, "lambd", 0.5)
    return torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, torch.zeros_like(x)))


def _swish(operation: Operation, x: Tensor) -> Tensor:
    alpha = attribute(operation, "alpha", 1.0)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


def _is_infinite(operation: Operation, x: Tensor) -> Tensor:
    below, above = attribute(operation, "detect_negative", 1), attribute(operation, "detect_positive", 1)
    if below and above:
        return torch.isinf(x)
    return (
        x == (math.inf if above else -math.inf) if below or above else torch.zeros_like(x, dtype=torch.bool)
    )


def _cast(operation: Operation, x: Any) -> Any:
    to = int(attribute(operation, "to", TensorProto.FLOAT))
    if isinstance(x, list) and to == TensorProto.INT64:
        return x
    if isinstance(x, np.ndarray):
        return x.astype(dtype_name(to, "Cast"))
    return tensor(x).to(getattr(torch, dtype_name(to, "Cast")))


def _cast_like(operation: Operation, x: Any, like: Any) -> Tensor:
    return tensor(x).to(tensor(like).dtype)


def _where(operation: Operation, condition: Any, a: Any, b: Any) -> Tensor:
    like = next((v for v in (condition, a, b) if isinstance(v, Tensor)), None)
    return torch.where(tensor(condition, like), tensor(a, like), tensor(b, like))


_ONE: dict[str, Function] = {
    "Relu": F.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "HardSwish": F.hardswish, "Softplus": F.softplus,
    "Softsign": F.softsign, "Mish": F.mish, "Erf": torch.erf, "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt,
    "Abs": torch.abs, "Neg": torch.neg, "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round,
    "Not": torch.logical_not, "BitwiseNot": torch.bitwise_not, "Reciprocal": torch.reciprocal, "Sign": torch.sign,
    "Sin": torch.sin, "Cos": torch.cos, "Tan": torch.tan, "Asin": torch.asin, "Acos": torch.acos, "Atan": torch.atan,
    "Sinh": torch.sinh, "Cosh": torch.cosh, "Asinh": torch.asinh, "Acosh": torch.acosh, "Atanh": torch.atanh,
    "IsNaN": torch.isnan,
}  # fmt: skip
_TWO: dict[str, Function] = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b, "Div": _divide,
    "Pow": lambda a, b: torch.pow(a, b).to(a.dtype) if isinstance(a, Tensor) else a**b,
    "Equal": lambda a, b: a == b, "Greater": lambda a, b: a > b, "GreaterOrEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b, "LessOrEqual": lambda a, b: a <= b,
    "And": lambda a, b: a & b, "Or": lambda a, b: a | b, "Xor": lambda a, b: a ^ b,
    "BitwiseAnd": lambda a, b: a & b, "BitwiseOr": lambda a, b: a | b, "BitwiseXor": lambda a, b: a ^ b,
}  # fmt: skip
ELEMENTS: dict[str, Function] = {
    **{name: _unary(function) for name, function in _ONE.items()},
    **{name: _binary(function) for name, function in _TWO.items()},
    "Identity": lambda operation, x: x,
    "Dropout": lambda operation, x, *rest: x,
    "LeakyRelu": lambda operation, x: F.leaky_relu(x, attribute(operation, "alpha", 0.01)),
    "Elu": lambda operation, x: F.elu(x, attribute(operation, "alpha", 1.0)),
    "HardSigmoid": _hard_sigmoid, "Selu": _selu, "Celu": _celu, "ThresholdedRelu": _threshold, "Shrink": _shrink,
    "Swish": _swish, "SwiGLU": lambda operation, a, b: _swish(operation, a) * b,
    "Gelu": _gelu, "PRelu": _prelu, "Clip": _clip, "Cast": _cast, "CastLike": _cast_like,
    "Where": _where, "Mod": _modulo, "BitShift": _shift, "IsInf": _is_infinite,
    "Max": _many(torch.maximum), "Min": _many(torch.minimum), "Sum": _many(torch.add), "Mean": _mean,
}  # fmt: skip
