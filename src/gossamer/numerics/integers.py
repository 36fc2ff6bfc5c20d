"""Integer-only arithmetic: what the operators of domain "gossamer" compute, in NumPy, and the constants they need.

Requantization with a fixed-point multiplier as gemmlowp has it (Jacob et al. 2018, section 2.2), and the softmax, GELU
and layer normalization of integer-only transformers after I-BERT (Kim et al. 2021, algorithms 1 to 4). Every function
takes and gives integers and is exact: the engine gives the same bits. docs/numerics.md, equations (9), (10), (13) to
(16). The *constants* are real numbers' integer stand-ins, computed once while a network is quantized.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
_LEAST, _MOST = -(2**31), 2**31 - 1
_ELEMENT = 2**23  # inputs of the layer normalization saturate here

# I-BERT's polynomials: e^p = a (p + b)^2 + c on (-ln 2, 0], and erf(t) = 1 - a (t - b)^2 on [0, b].
_EXP_A, _EXP_B, _EXP_C = 0.3585, 1.353, 0.344
_ERF_A, _ERF_B = 0.2888, 1.769


# --- constants ------------------------------------------------------------------------------------------


def fixed_point(factor: float) -> tuple[int, int]:
    """``(multiplier, shift)`` with ``factor = multiplier 2^(-31 - shift)``, ``2^30 <= multiplier < 2^31``.

    A factor of 0 gives ``(0, 0)``. ValueError: the factor is negative, not finite, or 2^31 and more. Factors below
    2^-32 lose bits of the multiplier, because shifts end at 31.
    """
    if not 0 <= factor < 2.0**31:
        raise ValueError(f"a requantization by {factor}: fixed point holds factors from 0 to below 2^31")
    mantissa, exponent = math.frexp(factor)
    multiplier, shift = round(mantissa * 2**31), -exponent
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift < -31:
        return 2**31 - 1, -31
    if shift > 31:
        return round(factor * 2.0**62), 31
    return multiplier, shift


@dataclass(frozen=True)
class Exponential:
    """The constants of :func:`softmax`: attributes ``ln2``, ``b`` and ``c`` of IntegerSoftmax."""

    ln2: int
    b: int
    c: int

    @classmethod
    def of(cls, scale: float) -> Exponential:
        """For inputs with this scale (real = scale * integer), which is 5e-5 to 0.25; else ValueError."""
        if not 5e-5 <= scale <= 0.25:
            raise ValueError(
                f"a softmax of inputs with scale {scale}: Requantize to one of 5e-5 to 0.25 first"
            )
        return cls(round(math.log(2) / scale), round(_EXP_B / scale), round(_EXP_C / (_EXP_A * scale**2)))


@dataclass(frozen=True)
class Gelu:
    """The constants of :func:`gelu`: attributes ``b`` and ``c`` of IntegerGelu, and the scale of its outputs."""

    b: int
    c: int
    output_scale: float

    @classmethod
    def of(cls, scale: float) -> Gelu:
        """For inputs with this scale (real = scale * integer), which is 0.004 to 0.5; else ValueError.

        Below, outputs of 8 and more would not fit int32; above, the polynomial has too few steps.
        """
        if not 0.004 <= scale <= 0.5:
            raise ValueError(f"a GELU of inputs with scale {scale}: Requantize to one of 0.004 to 0.5 first")
        step = scale / math.sqrt(2)  # of the error function's argument
        return cls(round(_ERF_B / step), round(1 / (_ERF_A * step**2)), scale * _ERF_A * step**2 / 2)


def layer_norm_scale(features: int, fraction_bits: int, weight_scale: float) -> float:
    """The scale of what :func:`layer_norm` returns, and of the bias that it adds."""
    return math.sqrt(features) * 2.0**-fraction_bits * weight_scale


# --- functions ------------------------------------------------------------------------------------------


def requantize(
    x: Ints,
    multiplier: Ints,
    shift: Ints,
    zero_point: np.integer | int = 0,
    x_zero_point: int = 0,
    *,
    axis: int = 1,
    dtype: npt.DTypeLike = np.int32,
    bounds: tuple[int, int] = (_LEAST, _MOST),
) -> Ints:
    """Requantize: ``clamp(x multiplier 2^(-31 - shift) + zero_point)`` with gemmlowp's roundings, equations (9), (10).

    ``multiplier`` and ``shift``, int32: one number, or one for each index along ``axis``; -31 <= shift <= 31.
    ``bounds``, the attributes low and high, clamp beside those of ``dtype`` (int8, uint8, int16 or int32).
    """
    m, n = (_along(np.asarray(values), np.ndim(x), axis) for values in (multiplier, shift))
    left = _saturated(np.asarray(x, np.int64) - int(x_zero_point))
    left = _saturated(left << np.maximum(-n, 0))
    p = _saturated((left * m + 2**30) >> 31)
    right = np.maximum(n, 0)
    half = (np.int64(1) << right) >> 1
    y = np.sign(p) * ((np.abs(p) + half) >> right) + int(zero_point)
    info = np.iinfo(np.dtype(dtype))
    return np.asarray(np.clip(y, max(bounds[0], info.min), min(bounds[1], info.max)).astype(dtype))


def softmax(x: Ints, constants: Exponential, *, axis: int = -1, bits: int = 8) -> Ints:
    """IntegerSoftmax: uint8 with scale ``2^-bits`` and zero point 0, equations (13), (14)."""
    distance = x.max(axis, keepdims=True).astype(np.int64) - x
    halvings = distance // constants.ln2
    rest = distance - halvings * constants.ln2
    e = np.where(halvings > 30, 0, ((constants.b - rest) ** 2 + constants.c) >> np.minimum(halvings, 30))
    total = e.sum(axis, keepdims=True)
    return np.asarray(np.minimum(_divided(e << bits, total), 2**bits - 1).astype(np.uint8))


def gelu(x: Ints, constants: Gelu, x_zero_point: int = 0) -> Ints:
    """IntegerGelu: int32 with scale ``constants.output_scale``, equation (15)."""
    t = _saturated(np.asarray(x, np.int64) - int(x_zero_point))
    erf = np.sign(t) * (constants.c - (np.minimum(np.abs(t), constants.b) - constants.b) ** 2)
    return np.asarray(_saturated(t * (constants.c + erf)).astype(np.int32))


def layer_norm(x: Ints, weight: Ints, bias: Ints | None = None, *, fraction_bits: int) -> Ints:
    """IntegerLayerNorm along the last dimension, int32 with :func:`layer_norm_scale`, equation (16)."""
    held = np.clip(np.asarray(x, np.int64), -_ELEMENT, _ELEMENT)
    n = held.shape[-1]
    centered = held - _divided(held.sum(-1, keepdims=True), np.asarray(n))
    squares = (centered**2).sum(-1, keepdims=True)
    root = np.array([max(1, math.isqrt(int(s))) for s in squares.ravel()], np.int64).reshape(squares.shape)
    normalized = _divided(centered << fraction_bits, root)
    shifted = normalized * weight.astype(np.int64) + (0 if bias is None else bias.astype(np.int64))
    return np.asarray(_saturated(shifted).astype(np.int32))


def _saturated(x: Ints) -> Ints:
    return np.clip(x, _LEAST, _MOST)


def _divided(a: Ints, b: Ints) -> Ints:
    """``a / b`` to the nearest whole number, half up; b > 0."""
    return np.asarray((2 * a + b) // (2 * b))


def _along(values: Ints, rank: int, axis: int) -> Ints:
    """One number, or one for each index along ``axis``, to broadcast."""
    if values.size == 1:
        return values.reshape(()).astype(np.int64)
    shape = [1] * rank
    shape[axis] = values.size
    return values.reshape(shape).astype(np.int64)
