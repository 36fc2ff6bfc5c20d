"""Functions of elements: of one tensor, of two with broadcasting, of many."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor

from gossamer.artifact.program import Operation

from ..tensors import dtype_name
from .values import Function, attribute, is_known, number, of_sizes, tensor


def _unary(function: Function) -> Function:
    def apply(operation: Operation, x: Any) -> Any:
        numbers = _OF_NUMBERS.get(operation.op)
        known = numbers is not None and not isinstance(x, Tensor) and is_known(x)
        return numbers(np.asarray(x)) if known and numbers else function(tensor(x))

    return apply


def _binary(function: Callable[[Any, Any], Any]) -> Function:
    def apply(operation: Operation, a: Any, b: Any) -> Any:
        like = a if isinstance(a, Tensor) else b
        if not isinstance(like, Tensor):
            return of_sizes(function, a, b)
        return function(tensor(a, like), tensor(b, like))

    return apply


def _divide(a: Any, b: Any) -> Any:
    if isinstance(a, Tensor):
        return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")
    return a // b if isinstance(a, int | np.integer | torch.SymInt) else a / b


def _modulo(operation: Operation, a: Any, b: Any) -> Any:
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        return of_sizes(lambda x, y: x % y, a, b)
    a = tensor(a, b if isinstance(b, Tensor) else None)
    function = torch.fmod if attribute(operation, "fmod", 0) else torch.remainder
    return function(a, tensor(b, a))


def _shift(operation: Operation, a: Any, b: Any) -> Tensor:
    left = operation.attributes["direction"] == "LEFT"
    a = tensor(a)
    return torch.bitwise_left_shift(a, tensor(b, a)) if left else torch.bitwise_right_shift(a, tensor(b, a))


def _many(function: Callable[[Any, Any], Any]) -> Function:
    def apply(operation: Operation, *inputs: Any) -> Any:
        like = next((x for x in inputs if isinstance(x, Tensor)), None)
        values = inputs if like is None else [tensor(x, like) for x in inputs]
        return functools.reduce(functools.partial(_binary(function), operation), values)

    return apply


def _larger(a: Any, b: Any) -> Any:
    return torch.maximum(a, b) if isinstance(a, Tensor) else torch.sym_max(a, b)  # type: ignore[no-untyped-call]


def _smaller(a: Any, b: Any) -> Any:
    return torch.minimum(a, b) if isinstance(a, Tensor) else torch.sym_min(a, b)  # type: ignore[no-untyped-call]


def _mean(operation: Operation, *inputs: Any) -> Any:
    return _many(operator.add)(operation, *inputs) / len(inputs)


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
    if not isinstance(x, Tensor) and to == TensorProto.INT64 and not is_known(x):
        return x
    if not isinstance(x, Tensor) and is_known(x):
        return np.asarray(x).astype(dtype_name(to, "Cast"))
    return tensor(x).to(getattr(torch, dtype_name(to, "Cast")))


def _cast_like(operation: Operation, x: Any, like: Any) -> Tensor:
    return tensor(x).to(tensor(like).dtype)


def _where(operation: Operation, condition: Any, a: Any, b: Any) -> Any:
    like = next((v for v in (condition, a, b) if isinstance(v, Tensor)), None)
    if like is None:
        return of_sizes(lambda c, x, y: x if c else y, condition, a, b)
    return torch.where(tensor(condition, like), tensor(a, like), tensor(b, like))


# What shape arithmetic has of them; its results are numbers again.
_OF_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "Neg": np.negative, "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil, "Round": np.round, "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal, "Not": np.logical_not, "Sign": np.sign, "Exp": np.exp, "Log": np.log,
}  # fmt: skip
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
    "Max": _many(_larger), "Min": _many(_smaller), "Sum": _many(operator.add), "Mean": _mean,
}  # fmt: skip
