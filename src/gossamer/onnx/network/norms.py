"""Norms, softmax and what else reduces dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gossamer.artifact.program import Operation

from .values import Function, attribute, ints, tensor

# Of shapes, whose parts may depend on the batch.
_OF_SIZES: dict[str, Callable[[list[Any]], Any]] = {
    "ReduceProd": math.prod, "ReduceSum": sum, "ReduceMax": max, "ReduceMin": min,
}  # fmt: skip


def _reduce(function: Callable[..., Tensor]) -> Function:
    def apply(operation: Operation, given: Any, axes: Any = None) -> Any:
        if not isinstance(given, Tensor) and operation.op in _OF_SIZES:
            found = _OF_SIZES[operation.op](ints(given))
            return [found] if attribute(operation, "keepdims", 1) else found
        x, axes = tensor(given), attribute(operation, "axes", axes)
        places = [] if axes is None else ints(axes)
        if not places and attribute(operation, "noop_with_empty_axes", 0):
            return x
        return function(x, places or list(range(x.ndim)), bool(attribute(operation, "keepdims", 1)))

    return apply


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.prod(axis, keep)
    return x


def _arg(operation: Operation, x: Tensor) -> Tensor:
    axis, keep = int(attribute(operation, "axis", 0)), bool(attribute(operation, "keepdims", 1))
    function = torch.argmax if operation.op == "ArgMax" else torch.argmin
    if not attribute(operation, "select_last_index", 0):
        return function(x, axis, keep)
    return x.shape[axis] - 1 - function(x.flip(axis), axis, keep)


def _batch_norm(operation: Operation, x: Tensor, *given: Any) -> Tensor:
    gamma, beta, mean, var = (tensor(value, x) for value in given)
    return F.batch_norm(x, mean, var, gamma, beta, False, 0.1, attribute(operation, "epsilon", 1e-5))


def _instance_norm(operation: Operation, x: Tensor, gamma: Any, beta: Any) -> Tensor:
    epsilon = attribute(operation, "epsilon", 1e-5)
    return F.instance_norm(x, weight=tensor(gamma, x), bias=tensor(beta, x), eps=epsilon)


def _group_norm(operation: Operation, x: Tensor, gamma: Any, beta: Any) -> Tensor:
    groups = int(attribute(operation, "num_groups", 1))
    each = x.shape[1] // groups
    gamma, beta = (tensor(v, x) for v in (gamma, beta))
    if gamma.shape[0] != x.shape[1]:  # before version 21: one for each group
        gamma, beta = gamma.repeat_interleave(each), beta.repeat_interleave(each)
    return F.group_norm(x, groups, gamma, beta, attribute(operation, "epsilon", 1e-5))


def _layer_norm(operation: Operation, x: Tensor, gamma: Any, beta: Any = None) -> Tensor:
    axis = int(attribute(operation, "axis", -1)) % x.ndim
    shape = list(x.shape[axis:])
    epsilon = attribute(operation, "epsilon", 1e-5)
    gamma, beta = (None if value is None else tensor(value, x) for value in (gamma, beta))
    if any(value is not None and list(value.shape) != shape for value in (gamma, beta)):
        plain: Tensor = F.layer_norm(x, shape, None, None, epsilon) * gamma
        return plain if beta is None else plain + beta
    return F.layer_norm(x, shape, gamma, beta, epsilon)


def _rms_norm(operation: Operation, x: Tensor, gamma: Any) -> Tensor:
    places = list(range(int(attribute(operation, "axis", -1)) % x.ndim, x.ndim))
    mean = x.square().mean(places, keepdim=True)
    return x * torch.rsqrt(mean + attribute(operation, "epsilon", 1e-5)) * tensor(gamma, x)


def _local_response(operation: Operation, x: Tensor) -> Tensor:
    """LRN: divided by a power of the mean square over channels, (size - 1) // 2 in front and size // 2 behind."""
    size = int(operation.attributes["size"])  # type: ignore[arg-type]
    alpha, beta = attribute(operation, "alpha", 1e-4), attribute(operation, "beta", 0.75)
    squares = F.pad(x.square().flatten(2).unsqueeze(1), [0, 0, (size - 1) // 2, size // 2])
    mean = F.avg_pool2d(squares, (size, 1), 1).reshape(x.shape)
    return x / (attribute(operation, "bias", 1.0) + alpha * mean) ** beta  # type: ignore[no-any-return]


def _lp_norm(operation: Operation, x: Tensor) -> Tensor:
    axis, p = int(attribute(operation, "axis", -1)), int(attribute(operation, "p", 2))
    norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


def _mean_variance(operation: Operation, x: Tensor) -> Tensor:
    axes = list(attribute(operation, "axes", (0, 2, 3)))
    calm = x - x.mean(axes, keepdim=True)
    return calm / (calm.square().mean(axes, keepdim=True).sqrt() + 1e-9)


def _softmax(function: Callable[[Tensor, int], Tensor]) -> Function:
    return lambda operation, x: function(x, int(attribute(operation, "axis", -1)))


def _one_at_largest(x: Tensor, axis: int) -> Tensor:
    """Hardmax."""
    places = torch.arange(x.shape[axis], device=x.device).view([-1] + [1] * (x.ndim - 1 - axis % x.ndim))
    return (places == x.argmax(axis, keepdim=True)).to(x.dtype)


def _cumulative(operation: Operation, x: Tensor, axis: Any) -> Tensor:
    place = ints(axis)[0]
    function = torch.cumsum if operation.op == "CumSum" else torch.cumprod
    x = x.flip(place) if attribute(operation, "reverse", 0) else x
    y = function(x, place)
    if attribute(operation, "exclusive", 0):
        first = torch.full_like(y.narrow(place, 0, 1), operation.op != "CumSum")
        y = torch.cat([first, y.narrow(place, 0, y.shape[place] - 1)], place)
    return (y.flip(place) if attribute(operation, "reverse", 0) else y).to(x.dtype)


_REDUCTIONS: dict[str, Function] = {
    "ReduceMean": torch.mean, "ReduceSum": torch.sum, "ReduceMax": torch.amax, "ReduceMin": torch.amin,
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keep),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keep).log(),
    "ReduceLogSumExp": torch.logsumexp,
}  # fmt: skip
NORMS: dict[str, Function] = {
    **{name: _reduce(function) for name, function in _REDUCTIONS.items()},
    "ArgMax": _arg, "ArgMin": _arg, "CumSum": _cumulative, "CumProd": _cumulative,
    "BatchNormalization": _batch_norm, "InstanceNormalization": _instance_norm, "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm, "RMSNormalization": _rms_norm, "LRN": _local_response,
    "LpNormalization": _lp_norm, "MeanVarianceNormalization": _mean_variance,
    "Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax), "Hardmax": _softmax(_one_at_largest),
}  # fmt: skip
