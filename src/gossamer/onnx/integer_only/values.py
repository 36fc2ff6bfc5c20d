"""What a real value of the network is in an integer-only Program: integers and their scale, or a function of bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Reals: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer]

BYTES = ("uint8", "int8")
INT32 = (-(2**31), 2**31 - 1)


@dataclass(frozen=True)
class Grid:
    """Integers ``low`` to ``high`` of ``dtype`` that stand for ``scale (q - zero)``: what a QuantizeLinear makes."""

    scale: float
    zero: int
    dtype: str
    low: int
    high: int

    def nearest(self, real: Reals | float) -> Ints:
        """The integers for real numbers: halves to even, saturated."""
        with np.errstate(over="ignore"):
            steps = np.rint(np.asarray(real, np.float64) / self.scale) + self.zero
        return np.asarray(np.clip(steps, self.low, self.high).astype(self.dtype))


@dataclass(frozen=True, eq=False)
class Scaled:
    """Integers ``name`` of the Program: ``scale (q - zero)``, clamped to ``least`` .. ``most``.

    ``scale``: one number, or one for each index along ``axis``. ``is_sum``: int32 sums in steps so fine that a
    bias is rounded to them. The clamp is a ReLU's that waits for the requantization behind it.
    """

    name: str
    dtype: str
    scale: Reals
    zero: int = 0
    axis: int = 1
    is_sum: bool = False
    least: float = -math.inf
    most: float = math.inf

    @property
    def is_one(self) -> bool:
        """Whether all elements share a scale."""
        return self.scale.size == 1

    @property
    def is_clamped(self) -> bool:
        """Whether a clamp waits."""
        return self.least > -math.inf or self.most < math.inf

    def clamped(self, least: float, most: float) -> Scaled:
        """After a further clamp."""
        low = min(max(self.least, least), most)
        return replace(self, least=low, most=max(min(self.most, most), low))

    def real(self, q: Ints) -> Reals:
        """What integers stand for; one scale."""
        return np.clip(float(self.scale) * (q.astype(np.float64) - self.zero), self.least, self.most)


@dataclass(frozen=True, eq=False)
class Pointwise:
    """A function of one element of ``source``, bytes: ``reals[i]`` for the byte whose bits are ``i``; shape (256,)."""

    source: Scaled
    reals: Reals

    @classmethod
    def of(cls, source: Scaled) -> Pointwise:
        """The bytes' own numbers."""
        every = np.arange(256, dtype=np.uint8).view(source.dtype)
        return cls(source, source.real(every))


Value: TypeAlias = "Scaled | Pointwise"
