"""Pooling: the greatest byte, and averages as sums whose divisor is part of the scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .conversion import Conversion
from .values import Scaled

_INT32_TYPE = 6


def max_pool(c: Conversion) -> None:
    """MaxPool on bytes."""
    x = c.scaled(0, bytes_only=True)
    c.operations.append(replace(c.at, inputs=(x.name,)))
    c.give(replace(x, name=c.at.outputs[0]))


def average_pool(c: Conversion) -> None:
    """AveragePool: a depthwise convolution with ones; padding, which counts, is zero."""
    x = c.scaled(0, bytes_only=True, plain=True)
    given = c.at.attributes
    kernel = given["kernel_shape"]
    assert isinstance(kernel, tuple)
    pads = given.get("pads", ())
    if given.get("ceil_mode") or (np.any(pads) and not given.get("count_include_pad")):  # type: ignore[arg-type]
        raise c.refuse(
            "averages of windows that are cut off at the edge: use count_include_pad=True and ceil_mode=False"
        )
    channels = c.sizes(c.input(0))[1]
    if not isinstance(channels, int):
        raise c.refuse("a number of channels that is not known")
    ones = c.hold(np.ones((channels, 1, *kernel), np.int8), "ones")
    kept = {
        k: v for k, v in given.items() if k in ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
    }
    sums = c.emit("ConvInteger", [x.name, ones, c.point(x.zero, x.dtype)], {**kept, "group": channels})
    c.give(Scaled(sums, "int32", x.scale / math.prod(map(int, kernel)), is_sum=True))


def mean(c: Conversion) -> None:
    """GlobalAveragePool, ReduceMean and ReduceSum: int32 sums, their zero point as often as there are elements."""
    x = c.scaled(0, plain=True)
    if not x.is_one:
        raise c.refuse("over sums that are not quantized")
    sizes = c.sizes(c.input(0))
    axes = _axes(c, len(sizes))
    counted = [sizes[axis] for axis in axes]
    if not all(isinstance(size, int) for size in counted):
        raise c.refuse(f"over dimensions {axes} of {sizes}, whose size is not fixed")
    count = int(np.prod([int(size) for size in counted]))  # type: ignore[arg-type]
    most = 255 if x.dtype in ("uint8", "int8") else 2**15
    if x.is_sum or count * most >= 2**31:
        raise c.refuse(f"over {count} elements: the sum may leave int32")
    wide = x.name if x.dtype == "int32" else c.emit("Cast", [x.name], {"to": _INT32_TYPE})
    keep = int(c.at.attributes.get("keepdims", 1))  # type: ignore[arg-type]
    made = c.emit("ReduceSum", [wide, c.hold(np.array(axes, np.int64), "axes")], {"keepdims": keep})
    scale = x.scale if c.at.op == "ReduceSum" else x.scale / count
    c.give(Scaled(made, "int32", scale, x.zero * count))


def _axes(c: Conversion, rank: int) -> list[int]:
    if c.at.op == "GlobalAveragePool":
        return list(range(2, rank))
    given = c.at.attributes.get("axes")
    held = c.numbers(1) if c.input(1) else None
    if held is not None:
        given = tuple(int(axis) for axis in held.reshape(-1))
    if c.input(1) and held is None:
        raise c.refuse("over dimensions that are not constant")
    axes = given if isinstance(given, tuple) else tuple(range(rank))
    return sorted(int(axis) % rank for axis in axes)
