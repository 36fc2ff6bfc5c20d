"""Filler zeros (Han et al. 2016, section 2 and figure 2).

A relative index of b bits holds a distance of 1 to 2^b between kept elements. Where the next one is further
away, an element that is zero is stored in between, as often as needed. Kept values are never zero, so the
fillers can be told from them by value, and taking them out again restores the weight exactly.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np
import numpy.typing as npt

from gossamer.errors import FormatError
from gossamer.weights import Codebook, Dense, Quantized, Weight, take

Positions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def padding_positions(positions: Positions, bits: int) -> tuple[Positions, Flags]:
    """Positions of kept elements and fillers together, increasing, and which of them are fillers."""
    step = 1 << bits
    before = np.concatenate([np.full(min(1, len(positions)), -1, dtype=np.int64), positions[:-1]])
    fillers = (positions - before - 1) // step
    ends = np.cumsum(fillers + 1)
    is_filler = np.ones(int(ends[-1]) if len(ends) else 0, dtype=bool)
    is_filler[ends - 1] = False
    # The k-th entry after a kept element lies k steps behind it, except for the kept element itself.
    rank = np.arange(len(is_filler)) - np.repeat(ends - fillers - 1, fillers + 1) + 1
    padded = np.repeat(before, fillers + 1) + rank * step
    padded[~is_filler] = positions
    return padded, is_filler


@singledispatch
def pad(values: Weight, fillers: Flags) -> Weight:
    """One-dimensional values with a zero wherever ``fillers`` is true."""
    raise TypeError(f"pad: no implementation for {type(values).__name__}")


@pad.register
def _(values: Dense, fillers: Flags) -> Weight:
    padded = np.zeros(len(fillers), dtype=values.values.dtype)
    padded[~fillers] = values.values
    return Dense(padded)


@pad.register
def _(values: Quantized, fillers: Flags) -> Weight:
    padded = np.full(len(fillers), values.zero_point, dtype=values.ints.dtype)
    padded[~fillers] = values.ints
    return Quantized(padded, values.scale, values.zero_point, None, values.bits)


@pad.register
def _(values: Codebook, fillers: Flags) -> Weight:
    count = len(values.centroids)
    padded = np.full(len(fillers), count, dtype=np.int64)
    padded[~fillers] = values.indices
    return Codebook.of(padded, np.append(values.centroids, np.float32(0)))


def unpad(padded: Weight) -> tuple[Weight, Positions]:
    """The values that are not zero, and their places among the padded ones."""
    match padded:
        case Dense():
            held = np.flatnonzero(padded.values)
        case Codebook():
            held = np.flatnonzero(padded.centroids[padded.indices])
        case Quantized(axis=None):
            held = np.flatnonzero(padded.ints != padded.zero_point)
        case _:
            raise FormatError(
                f"the values of a sparse weight cannot be {type(padded).__name__} with one scale per axis"
            )
    return take(padded, held), held
