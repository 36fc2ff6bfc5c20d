"""Pools: maxima, means and norms of windows."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gossamer.artifact.program import Operation

from .padding import around, pads
from .values import Function, attribute, ints, unsupported

_MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _pool(operation: Operation, x: Tensor) -> Tensor:
    kernel = list(operation.attributes["kernel_shape"])  # type: ignore[arg-type]
    rank, largest = len(kernel), operation.op == "MaxPool"
    strides, dilations = (list(attribute(operation, n, (1,) * rank)) for n in ("strides", "dilations"))
    begin, end = pads(operation, x, kernel)
    ceil = bool(attribute(operation, "ceil_mode", 0))
    counts = bool(attribute(operation, "count_include_pad", 0))
    if not largest and dilations != [1] * rank:
        raise unsupported(operation, "dilations of a mean")
    uneven = list(begin) != list(end) or any(2 * p > k for p, k in zip(begin, kernel, strict=True))
    inside = x
    if uneven:
        x = F.pad(x, around(begin, end), value=-math.inf if largest else 0.0)
        begin = [0] * rank
    if largest:
        return _MAXIMA[rank](x, kernel, strides, begin, dilations, ceil)
    function: Any = _MEANS[rank]
    mean: Tensor = function(x, kernel, strides, begin, ceil, counts)
    if uneven and not counts:  # divided by all, and only these are to count
        ones = F.pad(torch.ones_like(inside[:1, :1]), around(*pads(operation, inside, kernel)))
        mean = mean / function(ones, kernel, strides, begin, ceil, counts)
    return mean


def _powers(operation: Operation, x: Tensor) -> Tensor:
    """LpPool: the p-norm of each window."""
    kernel = list(operation.attributes["kernel_shape"])  # type: ignore[arg-type]
    rank, p = len(kernel), int(attribute(operation, "p", 2))
    strides, dilations = (list(attribute(operation, n, (1,) * rank)) for n in ("strides", "dilations"))
    if dilations != [1] * rank or attribute(operation, "ceil_mode", 0):
        raise unsupported(operation, "dilations, or sizes rounded up")
    x = F.pad(x.abs() ** p, around(*pads(operation, x, kernel)))
    mean: Any = _MEANS[rank]
    sums: Tensor = mean(x, kernel, strides) * math.prod(kernel)
    return sums ** (1 / p)


def _over_all(operation: Operation, x: Tensor) -> Tensor:
    places = tuple(range(2, x.ndim))
    if operation.op == "GlobalLpPool":
        norm: Tensor = torch.linalg.vector_norm(x, int(attribute(operation, "p", 2)), places, keepdim=True)
        return norm
    return x.amax(places, keepdim=True) if operation.op == "GlobalMaxPool" else x.mean(places, keepdim=True)


def _fold(operation: Operation, x: Tensor, image: Any, block: Any) -> Tensor:
    """Col2Im of images."""
    begin, end = pads(operation, x, ints(block))
    if len(ints(image)) != 2 or begin != end:
        raise unsupported(operation, "other than two dimensions, or padding that differs in front and behind")
    dilations, strides = (attribute(operation, n, (1, 1)) for n in ("dilations", "strides"))
    sizes: Any = [tuple(n) for n in (ints(image), ints(block), dilations, begin, strides)]
    return F.fold(x, *sizes)


WINDOWS: dict[str, Function] = {
    "MaxPool": _pool, "AveragePool": _pool, "LpPool": _powers, "Col2Im": _fold,
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _over_all),
}  # fmt: skip
