"""Sums and products of values: at one finer scale added (Jacob et al. 2018, appendix A.2), or multiplied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .conversion import Conversion
from .layers import affine
from .pointwise import of_constant, of_two
from .values import BYTES, INT32, Grid, Pointwise, Reals, Scaled

_FACTOR_BITS = 15  # of the factors of a product: it fits int32


def add(c: Conversion) -> None:
    """Add and Sub, of values and constants."""
    if _is_pointwise(c):
        return
    constants = [c.constant(0), c.constant(1)]
    if constants[0] is None and constants[1] is None:
        fine = c.finer()
        names = [c.requantized(c.scaled(i), fine) for i in (0, 1)]
        c.give(Scaled(c.emit(c.at.op, names), "int32", np.asarray(fine.scale), is_sum=True))
        return
    at = 0 if constants[0] is None else 1
    constant = constants[1 - at]
    x = c.scaled(at)
    if constant is None:
        raise c.refuse("two constants")
    if x.is_sum and not x.is_clamped and (x.is_one or _lies_along(constant, x)):
        _bias(c, x, constant, at)
        return
    fine = c.finer()
    names = [c.requantized(x, fine), c.hold(fine.nearest(constant), "term")]
    made = c.emit(c.at.op, names if at == 0 else names[::-1])
    c.give(Scaled(made, "int32", np.asarray(fine.scale), is_sum=True))


def _lies_along(constant: Reals, x: Scaled) -> bool:
    return constant.size == 1 or (x.axis == -1 and constant.size == constant.shape[-1] == x.scale.size)


def _bias(c: Conversion, x: Scaled, constant: Reals, at: int) -> None:
    """A constant added to the sums of a product, in their steps."""
    steps = np.rint(constant / x.scale)
    if np.abs(steps).max(initial=0) > 2**30:
        raise c.refuse(
            "a bias beyond int32 in the steps of the sums it is added to; quantize their input in more steps"
        )
    names = [x.name, c.hold(steps.astype(np.int32), "bias")]
    if c.at.op == "Sub" and at == 1:
        raise c.refuse("a constant less the sums of a product that are not quantized")
    c.give(replace(x, name=c.emit(c.at.op, names if at == 0 else names[::-1])))


def multiply(c: Conversion) -> None:
    """Mul and Div: by a constant another scale, or a requantization for each channel; of two values a product."""
    if _is_pointwise(c):
        return
    constants = [c.constant(0), c.constant(1)]
    if constants[0] is not None or constants[1] is not None:
        _by_constant(c, 0 if constants[0] is None else 1)
        return
    if c.at.op == "Div":
        raise c.refuse("a quotient of two values: integer-only networks have no division but by constants")
    factors = [_factor(c, c.scaled(i)) for i in (0, 1)]
    made = c.emit("Mul", [each.name for each in factors])
    c.give(Scaled(made, "int32", factors[0].scale * factors[1].scale, is_sum=True))


def _factor(c: Conversion, x: Scaled) -> Scaled:
    """int32 without zero point, of at most 16 bits."""
    if not x.is_one or (x.is_sum and x.dtype not in BYTES):
        raise c.refuse("a product of sums that are not quantized")
    scale = float(x.scale)
    bound = 2**_FACTOR_BITS
    grid = Grid(scale, 0, "int32", *(INT32 if x.dtype in BYTES else (-bound, bound - 1)))
    return Scaled(c.requantized(x, grid), "int32", np.asarray(scale))


def _by_constant(c: Conversion, at: int) -> None:
    constant = c.constant(1 - at)
    assert constant is not None  # the caller looked
    if c.at.op == "Div":
        if at == 1:
            raise c.refuse("a constant divided by a value")
        constant = 1 / constant
    x = c.scaled(at)
    if constant.size == 1 and constant.reshape(-1)[0] > 0:
        k = float(constant.reshape(-1)[0])
        c.give(replace(x, scale=x.scale * k, least=x.least * k, most=x.most * k))
        return
    x = c.clamped(x) if x.is_clamped else x
    sizes = constant.shape
    wide = [i for i, size in enumerate(sizes) if size > 1]
    if len(wide) > 1 or not x.is_one:
        raise c.refuse(f"a constant of shape {sizes}: one factor, or one for each channel, is due")
    axis = wide[0] - len(sizes) if wide else -1
    affine(c, x, constant.reshape(-1) if wide else constant.reshape(()), None, axis)


def _is_pointwise(c: Conversion) -> bool:
    """Whether it was a function of one byte: of functions of the same one, or with a constant."""
    values = [c.values.get(name) for name in c.at.inputs]
    if not any(isinstance(v, Pointwise) for v in values) and not _reads_twice(values):
        return False
    return of_two(c) if None not in values else of_constant(c)


def _reads_twice(values: Sequence[object]) -> bool:
    a, b = values[0], values[1]
    return isinstance(a, Scaled) and isinstance(b, Scaled) and a.name == b.name and a.dtype in BYTES
