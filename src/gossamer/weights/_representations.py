"""What a weight is once it no longer trains: one value, one of a few representations, which nest.

A representation is canonical: two weights that decode to the same values in the same way are equal field by
field. ``decode``, ``shape``, the bytes on disk and the kernel that runs are all functions of it
(``functools.singledispatch``), so a new representation is one new class and its functions.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class Weight(abc.ABC):  # noqa: B024 (a closed family of final dataclasses; the verbs are functions)
    """A weight as it ships. Final subclasses: Dense, Quantized, Codebook, Sparse."""


@dataclass(frozen=True, eq=False)
class Dense(Weight):
    """Every element stored as itself; ``values`` of any shape and any fixed-width dtype."""

    values: npt.NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Quantized(Weight):
    """Affine quantization, r = scale * (q - zero_point) (Jacob et al. 2017, eq. 1), decoded to float32.

    ``ints``: int8/uint8/int16/int32 of the weight's shape, every value inside the range of ``bits``.
    ``scale``, ``zero_point``: float32 and the dtype of ``ints``; shape () for one per tensor, (n,) for one per index of ``axis``.
    ``axis``: None exactly where ``scale`` is a scalar. ``bits``: bits per stored value, 1 to 32.
    """

    ints: npt.NDArray[np.integer]
    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.integer]
    axis: int | None
    bits: int


@dataclass(frozen=True, eq=False)
class Codebook(Weight):
    """Weight sharing (Han et al. 2016, section 3): ``values = centroids[indices]``.

    ``indices``: uint8 or uint16 (the narrower that fits ``len(centroids)``), of the weight's shape.
    ``centroids``: float32, strictly increasing, every one used; at most 65536.
    """

    indices: npt.NDArray[np.unsignedinteger]
    centroids: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sparse(Weight):
    """The non-zero elements alone: the rest is exactly zero.

    ``shape``: of the whole weight. ``positions``: int64, strictly increasing flat (C order) positions of the kept elements.
    ``values``: their values as a one-dimensional Weight (Dense, Quantized or Codebook) of the same length, none of which decodes to zero.
    """

    shape: tuple[int, ...]
    positions: npt.NDArray[np.int64]
    values: Weight
