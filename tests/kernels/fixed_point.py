"""Requantization in integers alone, in Python's unbounded integers: docs/numerics.md, equations (8) to (10)."""

from __future__ import annotations

from fractions import Fraction

LEAST, MOST = -(2**31), 2**31 - 1


def saturated(x: int) -> int:
    return max(LEAST, min(MOST, x))


def half_up(x: Fraction) -> int:
    """The nearest whole number; of two, the larger."""
    return (x + Fraction(1, 2)).__floor__()


def half_away(x: Fraction) -> int:
    """The nearest whole number; of two, that with the larger absolute value."""
    return half_up(x) if x >= 0 else -half_up(-x)


def requantized(x: int, multiplier: int, right_shift: int, zero: int, least: int, most: int) -> int:
    shifted = saturated(x * 2 ** max(0, -right_shift))
    product = saturated(half_up(Fraction(shifted * multiplier, 2**31)))
    y = half_away(Fraction(product, 2 ** max(0, right_shift))) + zero
    return max(least, min(most, y))
