"""Layers in integers: uint8 or int8 times int8 gives int32 sums (Jacob et al. 2018, sections 2.1 to 2.4).

The bias has the sums' scale, ``S_bias = S_x S_w``. Zero points are operands of ConvInteger and MatMulInteger, whose
kernels take them out by sums of the weights' rows and of the activations' columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from gossamer.weights import Quantized, Sparse, Weight
from gossamer.weights import shape as shape_of

from .conversion import Conversion
from .moves import moved
from .values import Ints, Reals, Scaled

_MOST = 2**30  # that a bias, and thereby a sum of it and products, stays away from the bounds of int32
_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


@dataclass(frozen=True, eq=False)
class Integers:
    """A weight ``scale (q - zero)``; one scale and zero point, or one for each index of ``axis``."""

    q: Ints
    scale: Reals
    zero: Ints
    axis: int | None


@singledispatch
def integers_of(weight: Weight) -> Integers | None:
    """The integers of a weight, dense; None where it has none."""
    del weight
    return None


@integers_of.register
def _(weight: Quantized) -> Integers | None:
    if weight.block is not None or weight.bits > 8:
        return None
    return Integers(weight.ints, weight.scale.astype(np.float64), weight.zero_point, weight.axis)


@integers_of.register
def _(weight: Sparse) -> Integers | None:
    values = weight.values
    if not isinstance(values, Quantized) or values.axis is not None:
        return None
    ints = np.full(shape_of(weight), values.zero_point, values.ints.dtype)
    ints.reshape(-1)[weight.positions] = values.ints
    return Integers(ints, values.scale.astype(np.float64), values.zero_point, None)


def _weight(c: Conversion, i: int, output_axis: int) -> Integers:
    """Input ``i`` as integers with a scale for each output, or one."""
    weight = c.given.get(c.input(i))
    found = None if weight is None else integers_of(weight)
    if found is None:
        kind = "no weight" if weight is None else f"of {type(weight).__name__} values"
        if isinstance(weight, Quantized):
            kind = "quantized in groups or to more than 8 bits"
        raise c.refuse(
            f"its weight {c.input(i)!r} is {kind}; one int8 scale a tensor or output channel is due"
        )
    if found.axis not in (None, output_axis):
        raise c.refuse(
            f"the scales of {c.input(i)!r} lie along its axis {found.axis}, not its outputs' {output_axis}"
        )
    return found


def convolution(c: Conversion) -> None:
    """Conv: ConvInteger, Add of the bias."""
    x, w = c.scaled(0, bytes_only=True, plain=True), _weight(c, 1, 0)
    rank = w.q.ndim
    scale, w, bias = _bias(c, x, w, c.constant(2), w.q.shape[0])
    inputs = [x.name, c.replaced(w.q, c.input(1)), *_points(c, x, w)]
    sums = c.emit("ConvInteger", inputs, {k: v for k, v in c.at.attributes.items() if k in _WINDOW})
    if bias is not None:
        sums = c.emit("Add", [sums, c.replaced(bias.reshape(-1, *(1,) * (rank - 2)), c.input(2))])
    c.give(Scaled(sums, "int32", scale, is_sum=True))


def gemm(c: Conversion) -> None:
    """Gemm: MatMulInteger, Add of the bias."""
    given = c.at.attributes
    if given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1 or given.get("transA"):
        raise c.refuse("with factors or a transposed input")
    turned = bool(given.get("transB"))
    w = _weight(c, 1, 0 if turned else 1)
    product(c, Integers(w.q.T, w.scale, w.zero, w.axis) if turned else w, c.constant(2))


def matmul(c: Conversion) -> None:
    """MatMul: of a weight, or of two activations."""
    if c.input(1) in c.given:
        product(c, _weight(c, 1, len(shape_of(c.given[c.input(1)])) - 1), None)
        return
    if c.input(0) in c.given:
        raise c.refuse("a weight that is multiplied from the left; write x @ W")
    a, b = c.scaled(0, bytes_only=True, plain=True), c.scaled(1, bytes_only=True, plain=True)
    inputs = [a.name, b.name, c.point(a.zero, a.dtype), c.point(b.zero, b.dtype)]
    c.give(Scaled(c.emit("MatMulInteger", inputs), "int32", a.scale * b.scale, axis=-1, is_sum=True))


def product(c: Conversion, w: Integers, bias: Reals | None) -> None:
    """``x @ w + bias`` for a weight whose last axis is that of the outputs."""
    if w.q.ndim != 2:
        raise c.refuse("a weight that is no matrix")
    x = c.scaled(0, bytes_only=True, plain=True)
    if bias is not None and bias.size not in (1, w.q.shape[1]):
        raise c.refuse("a bias that is no vector")
    scale, w, ints = _bias(c, x, w, bias, w.q.shape[1], -1)
    inputs = [x.name, c.replaced(np.ascontiguousarray(w.q), c.input(1)), *_points(c, x, w)]
    sums = c.emit("MatMulInteger", inputs)
    if ints is not None:
        sums = c.emit("Add", [sums, c.replaced(ints, c.input(2))])
    c.give(Scaled(sums, "int32", scale, axis=-1, is_sum=True))


def _points(c: Conversion, x: Scaled, w: Integers) -> list[str]:
    own = c.hold(np.asarray(w.zero), "zero_point") if w.zero.any() else ""
    return [c.point(x.zero, x.dtype), own]


def _bias(
    c: Conversion, x: Scaled, w: Integers, bias: Reals | None, outputs: int, axis: int = 0
) -> tuple[Reals, Integers, Ints | None]:
    """The scales of the sums, the weight, and the bias in these scales.

    Where a bias is more than 2^30 steps of its channel, whose weights then are next to nothing, these get longer steps.
    """
    if bias is None:
        return x.scale * w.scale, w, None
    real = np.broadcast_to(bias.reshape(-1), (outputs,))
    least = np.abs(real) / (_MOST * x.scale)
    if (w.scale < least).any():
        scale = np.maximum(w.scale, least)
        axes = [1] * w.q.ndim
        axes[axis] = -1
        ratio = (w.scale / scale).reshape(axes)
        zero = w.zero.astype(np.int64).reshape(axes if w.zero.size > 1 else ())
        q = (np.rint((w.q - zero) * ratio) + zero).astype(w.q.dtype)
        w = Integers(q, scale, w.zero, axis)
    scale = np.asarray(x.scale * w.scale)
    return scale, w, np.rint(real / scale).astype(np.int32)


def gather(c: Conversion) -> None:
    """Gather: of an embedding's bytes by ids; of activations, elements moved."""
    weight = c.given.get(c.input(0))
    if weight is None or integers_of(weight) is None:
        moved(c)
        return
    w = _weight(c, 0, -1)  # one scale: rows of their own scales have none in common
    if w.zero.any():
        raise c.refuse("an embedding whose zero point is not 0")
    name = c.emit("Gather", [c.replaced(w.q, c.input(0)), c.input(1)], c.at.attributes)
    c.give(Scaled(name, w.q.dtype.name, w.scale))


def batch_norm(c: Conversion) -> None:
    """BatchNormalization that no layer could take in: a requantization for each channel, and the bias."""
    scale, shift, mean, variance = (c.constant(i) for i in range(1, 5))
    x = c.scaled(0, plain=True)
    if scale is None or shift is None or mean is None or variance is None or not x.is_one:
        raise c.refuse("statistics that are not constants")
    factor = scale / np.sqrt(variance + float(c.at.attributes.get("epsilon", 1e-5)))  # type: ignore[arg-type]
    affine(c, x, factor, shift - factor * mean, 1)


def affine(c: Conversion, x: Scaled, factor: Reals, shift: Reals | None, axis: int) -> None:
    """``factor x + shift`` for each index along ``axis``."""
    fine = c.finer()
    name = c.requantized(x, fine, factor, axis)
    if shift is not None:
        rank = len(c.sizes(c.at.outputs[0]))
        behind = (1,) * (rank - 1 - axis % rank)
        name = c.emit("Add", [name, c.hold(fine.nearest(shift).reshape(-1, *behind), "shift")])
    c.give(Scaled(name, "int32", np.asarray(fine.scale), is_sum=True))
