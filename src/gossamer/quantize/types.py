"""What numbers become: integers of so many bits, and who shares a scale."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field

from gossamer.errors import RecipeError
from gossamer.numerics import affine


class Granularity(abc.ABC):  # noqa: B024 (a closed family of frozen dataclasses; placement reads them)
    """Which elements of a tensor share a scale."""


@dataclass(frozen=True)
class PerTensor(Granularity):
    """All of them."""


@dataclass(frozen=True)
class PerChannel(Granularity):
    """Those with the same index along ``axis``; None: the axis of the output channels (of embeddings, the tokens)."""

    axis: int | None = None


@dataclass(frozen=True)
class PerGroup(Granularity):
    """Of a matrix, ``size`` neighbours along the inputs of the same output; other weights per output channel."""

    size: int = 32

    def __post_init__(self) -> None:
        if self.size < 1:
            raise RecipeError(f"PerGroup(size={self.size}): give 1 or more")


@dataclass(frozen=True)
class Int:
    """Integers of ``bits`` (2 to 8).

    ``granularity``: None for what suits: per channel for weights, per tensor for activations. ``symmetric``: zero
    point 0 and signed integers; else unsigned with a zero point. None: weights are symmetric, activations not.
    """

    bits: int
    granularity: Granularity | None = None
    symmetric: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int) or not 2 <= self.bits <= 8:
            raise RecipeError(f"{type(self).__name__}(bits={self.bits!r}): give a whole number from 2 to 8")


@dataclass(frozen=True)
class Int8(Int):
    """Integers of 8 bits."""

    bits: int = field(default=8, init=False)


@dataclass(frozen=True)
class Int4(Int):
    """Integers of 4 bits."""

    bits: int = field(default=4, init=False)


@dataclass(frozen=True)
class Grid:
    """The integers low..high, and whether their zero point is 0."""

    low: int
    high: int
    symmetric: bool

    @classmethod
    def of(cls, type_: Int, symmetric: bool) -> Grid:
        """The integers of ``type_``; ``symmetric`` where it does not say."""
        symmetric = symmetric if type_.symmetric is None else type_.symmetric
        return cls(*affine.bounds(type_.bits, signed=symmetric), symmetric)

    @property
    def bits(self) -> int:
        """Bits that hold low..high."""
        return (self.high - self.low).bit_length()
