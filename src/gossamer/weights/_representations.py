"""What a weight is once it no longer trains: one value, one of a few representations, which nest.

A representation is canonical: two weights that decode to the same values in the same way are equal field by
field. ``decode``, ``shape``, the bytes on disk and the kernel that runs are all functions of it
(``functools.singledispatch``), so a new representation is one new class and its functions. Constructors check
everything that this page says and raise :class:`~gossamer.errors.WeightError`.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gossamer.errors import UnsupportedError, WeightError

_T = TypeVar("_T", bound=np.generic)

MAX_CENTROIDS = 65536
_DENSE_KINDS = "biuf"
_QUANTIZED_DTYPES = ("int8", "uint8", "int16", "int32")


class Weight(abc.ABC):  # noqa: B024 (a closed family of final dataclasses; the verbs are functions)
    """A weight as it ships. Final subclasses: Dense, Quantized, Codebook, Sparse."""


@dataclass(frozen=True, eq=False)
class Dense(Weight):
    """Every element stored as itself, NaN and infinities included.

    ``values``: any shape; bool, int8..int64, uint8..uint64, float16, float32 or float64.
    """

    values: npt.NDArray[np.generic]

    def __post_init__(self) -> None:
        _require_array("Dense.values", self.values)
        kind, size = self.values.dtype.kind, self.values.dtype.itemsize
        if kind not in _DENSE_KINDS or size > 8:
            raise UnsupportedError(
                f"Dense.values has dtype {self.values.dtype}; gossamer stores bool, integers and floats "
                f"of at most "
                f"64 bits: convert with .astype(numpy.float32)"
            )


@dataclass(frozen=True, eq=False)
class Quantized(Weight):
    """Affine quantization, r = scale * (q - zero_point) (Jacob et al. 2017, eq. 1), decoded to float32.

    ``ints``: int8/uint8/int16/int32 of the weight's shape, every value inside the range of ``bits``.
    ``scale``, ``zero_point``: finite positive float32, and the dtype of ``ints``; shape () for one per
    tensor, (n,) for one per index of ``axis``; with ``block``, the weight's shape with
    ceil(shape[axis] / block) in place of shape[axis]. ``axis``: None exactly where ``scale`` is a scalar;
    not negative.
    ``bits``: bits per stored value, 1 to the width of ``ints``; files hold no more than these.
    ``block``: that many neighbours along ``axis`` share a scale (group quantization, as DequantizeLinear of
    ONNX operator set 21 has it; the last block may be shorter); None for one scale per index of ``axis``.
    """

    ints: npt.NDArray[np.integer]
    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.integer]
    axis: int | None
    bits: int
    block: int | None = None

    def __post_init__(self) -> None:
        _require_array("Quantized.ints", self.ints, *_QUANTIZED_DTYPES)
        _require_array("Quantized.scale", self.scale, "float32")
        _require_array("Quantized.zero_point", self.zero_point, self.ints.dtype.name)
        if not 1 <= self.bits <= 8 * self.ints.dtype.itemsize:
            raise WeightError(
                f"Quantized.bits is {self.bits}; {self.ints.dtype} holds 1 to {8 * self.ints.dtype.itemsize}"
            )
        self._check_parameters()
        signed = self.ints.dtype.kind == "i"
        low, high = (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if signed else (0, (1 << self.bits) - 1)
        _require_range("Quantized.ints", self.ints, low, high)
        _require_range("Quantized.zero_point", self.zero_point, low, high)

    def _check_parameters(self) -> None:
        if self.axis is not None and not 0 <= self.axis < self.ints.ndim:
            raise WeightError(
                f"Quantized.axis is {self.axis}; the weight of shape {self.ints.shape} has axes 0 to "
                f"{self.ints.ndim - 1}"
            )
        self._check_block()
        expected = parameter_shape(self.ints.shape, self.axis, self.block)
        for name in ("scale", "zero_point"):
            actual = getattr(self, name).shape
            if actual != expected:
                raise WeightError(
                    f"Quantized.{name} has shape {actual}; axis={self.axis}, block={self.block} of a weight "
                    f"of shape {self.ints.shape} needs {expected}"
                )
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise WeightError(
                "Quantized.scale has values that are not finite and positive; look for NaN in the weight "
                "it was computed from"
            )

    def _check_block(self) -> None:
        if self.block is None:
            return
        if self.axis is None:
            raise WeightError(f"Quantized.block is {self.block} without an axis along which to count")
        size = max(1, self.ints.shape[self.axis])
        if not 1 <= self.block <= size:
            raise WeightError(
                f"Quantized.block is {self.block}; axis {self.axis} has blocks of 1 to {size} elements"
            )


def parameter_shape(shape: tuple[int, ...], axis: int | None, block: int | None) -> tuple[int, ...]:
    """The shape of the scales of a weight of ``shape`` that is Quantized along ``axis``, in blocks or not."""
    if axis is None:
        return ()
    if block is None:
        return (shape[axis],)
    return (*shape[:axis], -(-shape[axis] // block), *shape[axis + 1 :])


def spread(
    parameters: npt.NDArray[_T], shape: tuple[int, ...], axis: int | None, block: int | None
) -> npt.NDArray[_T]:
    """The scales or zero points of a Quantized weight of ``shape``, as an array that broadcasts to it."""
    if axis is None:
        return parameters
    if block is None:
        return parameters.reshape([-1 if place == axis else 1 for place in range(len(shape))])
    return np.take(parameters, np.arange(shape[axis]) // block, axis)


@dataclass(frozen=True, eq=False)
class Codebook(Weight):
    """Weight sharing (Han et al. 2016, section 3): ``values = centroids[indices]``.

    ``indices``: uint8 or uint16 (the narrower that fits ``len(centroids)``), of the weight's shape.
    ``centroids``: finite float32, strictly increasing, every one used; at most 65536.
    """

    indices: npt.NDArray[np.unsignedinteger]
    centroids: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        _require_array("Codebook.centroids", self.centroids, "float32")
        count = len(self.centroids) if self.centroids.ndim == 1 else -1
        if not 0 <= count <= MAX_CENTROIDS:
            raise WeightError(
                f"Codebook.centroids has shape {self.centroids.shape}; it must be (n,) with n <= "
                f"{MAX_CENTROIDS}"
            )
        _require_array("Codebook.indices", self.indices, index_dtype(count).name)
        if not np.isfinite(self.centroids).all() or not (self.centroids[1:] > self.centroids[:-1]).all():
            raise WeightError(
                "Codebook.centroids must be finite and strictly increasing; Codebook.of(...) sorts and "
                "merges them"
            )
        _require_range("Codebook.indices", self.indices, 0, count - 1)
        used = np.zeros(count, dtype=bool)
        used[self.indices.reshape(-1)] = True
        if not used.all():
            raise WeightError(
                f"Codebook.centroids[{int(np.argmin(used))}] is never used; Codebook.of(...) drops such "
                f"centroids"
            )

    @classmethod
    def of(cls, assignment: npt.NDArray[np.integer], centroids: npt.NDArray[np.floating]) -> Codebook:
        """The canonical Codebook of ``centroids[assignment]``: sorted, duplicates merged, unused centroids
        dropped.

        ``assignment``: integers of the weight's shape, into ``centroids`` of shape (n,), which is taken as
        float32 and may be in any order.
        """
        table = np.asarray(centroids, dtype=np.float32)
        if table.ndim != 1:
            raise WeightError(f"centroids have shape {table.shape}; they must be (n,)")
        assignment = np.asarray(assignment)
        _require_range("assignment", assignment, 0, len(table) - 1)
        used = np.zeros(len(table), dtype=bool)
        used[assignment.reshape(-1)] = True
        if not np.isfinite(table[used]).all():
            place = int(np.argmax(used & ~np.isfinite(table)))
            raise WeightError(
                f"centroids[{place}] is {table[place]}; look for NaN or infinity in the weight that was "
                f"clustered"
            )
        # Adding zero turns -0.0 into 0.0: one value, one representation.
        distinct = np.unique(table[used] + np.float32(0))
        if len(distinct) > MAX_CENTROIDS:
            raise WeightError(
                f"{len(distinct)} different centroids are used; a Codebook has at most {MAX_CENTROIDS}"
            )
        rank = np.zeros(len(table), dtype=index_dtype(len(distinct)))
        rank[used] = np.searchsorted(distinct, table[used])
        return cls(np.asarray(rank[assignment]), distinct)


@dataclass(frozen=True, eq=False)
class Sparse(Weight):
    """The non-zero elements alone: the rest is exactly zero.

    ``shape``: of the whole weight. ``positions``: int64, strictly increasing flat (C order) positions of the
    kept elements.
    ``values``: their values as a one-dimensional Weight (Dense, Quantized or Codebook) of the same length,
    none of which decodes to zero. Quantized values have one scale per tensor.
    """

    shape: tuple[int, ...]
    positions: npt.NDArray[np.int64]
    values: Weight

    def __post_init__(self) -> None:
        if not all(isinstance(size, int) and size >= 0 for size in self.shape):
            raise WeightError(f"Sparse.shape is {self.shape}; sizes are integers that are not negative")
        _require_array("Sparse.positions", self.positions, "int64")
        held, zero = _one_dimensional(self.values)
        if self.positions.shape != held.shape:
            raise WeightError(
                f"Sparse has positions of shape {self.positions.shape} and values of shape {held.shape}; "
                f"both must be (n,)"
            )
        _require_range("Sparse.positions", self.positions, 0, math.prod(self.shape) - 1)
        if not (self.positions[1:] > self.positions[:-1]).all():
            raise WeightError(
                "Sparse.positions must be strictly increasing; Sparse.from_dense(...) makes them so"
            )
        if zero.any():
            place = int(np.argmax(zero))
            raise WeightError(f"Sparse.values[{place}] is zero; gossamer.weights.sparsify(...) drops zeros")

    @classmethod
    def from_dense(cls, values: npt.NDArray[np.generic], keep: npt.NDArray[np.bool_] | None = None) -> Sparse:
        """The non-zero elements of ``values``, and of those only where ``keep`` (bool, the same shape) is
        true."""
        kept = values != 0
        if keep is not None:
            if keep.shape != values.shape:
                raise WeightError(f"keep has shape {keep.shape}; the weight has {values.shape}")
            kept &= keep.astype(bool, copy=False)
        positions = np.flatnonzero(kept)
        return cls(values.shape, positions.astype(np.int64, copy=False), Dense(values.reshape(-1)[positions]))


def index_dtype(centroids: int) -> np.dtype[np.unsignedinteger]:
    """The dtype of indices into so many centroids: uint8 up to 256, uint16 above."""
    return np.dtype(np.uint8 if centroids <= 256 else np.uint16)


def _one_dimensional(values: Weight) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    """The array that holds a Sparse's values as stored, and which of its elements decode to zero."""
    if isinstance(values, Dense):
        return values.values, np.asarray(values.values == 0)
    if isinstance(values, Codebook):
        return values.indices, (values.centroids == 0)[values.indices]
    if isinstance(values, Quantized):
        if values.axis is not None:
            raise UnsupportedError(
                "Sparse.values are Quantized per axis; the kept values have one axis: quantize them per "
                "tensor"
            )
        return values.ints, values.ints == values.zero_point
    raise WeightError(f"Sparse.values is {type(values).__name__}; it must be Dense, Quantized or Codebook")


def _require_array(place: str, value: object, *dtypes: str) -> None:
    if not isinstance(value, np.ndarray):
        raise WeightError(
            f"{place} is {type(value).__name__}; it must be a numpy.ndarray (numpy.asarray(...) makes one)"
        )
    if not value.dtype.isnative:
        raise WeightError(
            f"{place} has the foreign byte order {value.dtype.str}; convert with "
            f".astype(dtype.newbyteorder('='))"
        )
    if dtypes and value.dtype.name not in dtypes:
        raise WeightError(f"{place} has dtype {value.dtype}; it must be {' or '.join(dtypes)}")


def _require_range(place: str, values: npt.NDArray[np.integer], low: int, high: int) -> None:
    if values.size == 0:
        return
    if values.dtype.kind not in "iu":
        raise WeightError(f"{place} has dtype {values.dtype}; it must be an integer")
    for extreme in (int(values.min()), int(values.max())):
        if not low <= extreme <= high:
            raise WeightError(f"{place} contains {extreme}; it must lie in {low}..{high}")
