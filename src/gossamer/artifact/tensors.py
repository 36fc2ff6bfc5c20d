"""Weights as structure and streams: one writer and one reader for each representation."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np
import numpy.typing as npt

from gossamer.errors import FormatError, UnsupportedError
from gossamer.weights import (
    Codebook,
    Dense,
    Quantized,
    Sparse,
    Weight,
    index_dtype,
    parameter_shape,
    shape,
    spread,
)
from gossamer.weights import dtype as decoded_dtype

from . import layout
from .coding import Coding, DeepCompression, Smallest
from .layout import Kind, Positions
from .padding import pad, padding_positions, unpad
from .positions import filled, read_positions, write_positions
from .streams import Grid, read_array, read_symbols, write_array, write_symbols
from .wire import Part, Reader, Writer

_FULL = (1, 1)
_NEARLY_FULL = (15, 16)  # zeros in kept blocks are stored as values: a few cost less than smaller blocks
_WORTH_A_PATTERN = (3, 4)  # of the elements kept, at most


def write_weight(to: Writer, weight: Weight, coding: Coding) -> None:
    """The shape, the kind, and what the kind needs."""
    if _too_large(shape(weight)):
        raise UnsupportedError(
            f"a weight of shape {shape(weight)} is too large for the format, which holds {layout.MAX_RANK} "
            f"dimensions and {layout.MAX_ELEMENTS} elements"
        )
    to.sequence(shape(weight), to.number)
    _write(weight, to, coding, Grid.of(shape(weight)))


def _too_large(shape: tuple[int, ...]) -> bool:
    # Sizes of zero are left out, because NumPy multiplies the others all the same.
    return len(shape) > layout.MAX_RANK or math.prod(size or 1 for size in shape) > layout.MAX_ELEMENTS


@singledispatch
def _write(weight: Weight, to: Writer, coding: Coding, grid: Grid) -> None:
    raise TypeError(f"pack: no implementation for {type(weight).__name__}")


@_write.register(Dense)
def _(weight: Dense, to: Writer, coding: Coding, grid: Grid) -> None:
    to.byte(Kind.DENSE)
    to.byte(layout.DTYPES.index(weight.values.dtype))
    write_array(to, weight.values, coding)


@_write.register(Quantized)
def _(weight: Quantized, to: Writer, coding: Coding, grid: Grid) -> None:
    nonzero = weight.ints != spread(weight.zero_point, weight.ints.shape, weight.axis, weight.block)
    if (
        isinstance(coding, Smallest)
        and weight.bits <= 16
        and grid.positions is None
        and _mostly_zero(nonzero)
    ):
        whole, sparse = Writer(), Writer()
        _write_quantized(weight, whole, coding, grid)
        _write_quantized_sparse(weight, sparse, coding, nonzero.reshape(-1))
        to.shortest([whole, sparse])
    else:
        _write_quantized(weight, to, coding, grid)


def _mostly_zero(nonzero: npt.NDArray[np.bool_]) -> bool:
    share, of = _WORTH_A_PATTERN
    return 0 < int(np.count_nonzero(nonzero)) * of <= nonzero.size * share


def _write_quantized(weight: Quantized, to: Writer, coding: Coding, grid: Grid) -> None:
    to.byte(Kind.QUANTIZED if weight.block is None else Kind.QUANTIZED_IN_BLOCKS)
    _write_type(weight, to)
    if weight.block is not None:
        to.number(weight.block)
    if weight.bits <= 16:
        low = _lowest(weight.ints.dtype, weight.bits)
        write_symbols(to, weight.ints.astype(np.int64) - low, 1 << weight.bits, grid, coding)
    else:
        write_array(to, weight.ints, coding)
    _write_parameters(weight, to, coding)


def _write_quantized_sparse(
    weight: Quantized, to: Writer, coding: Coding, nonzero: npt.NDArray[np.bool_]
) -> None:
    shape, grid = weight.ints.shape, Grid.of(weight.ints.shape)
    to.byte(Kind.QUANTIZED_SPARSE)
    _write_type(weight, to)
    to.number(weight.block or 0)
    tiling = filled(nonzero, shape, _NEARLY_FULL)
    blocks = tiling.blocks(nonzero)
    positions = tiling.elements(blocks)
    to.number(len(positions))
    stride = write_positions(to, blocks, tiling)
    symbols = weight.ints.reshape(-1)[positions].astype(np.int64) - _lowest(weight.ints.dtype, weight.bits)
    at = Grid(grid.rows, grid.columns, stride, positions)
    write_symbols(to, symbols, 1 << weight.bits, at, coding)
    _write_parameters(weight, to, coding)


def _write_type(weight: Quantized, to: Writer) -> None:
    to.byte(layout.QUANTIZED_DTYPES.index(weight.ints.dtype.name))
    to.byte(weight.bits)
    to.number(0 if weight.axis is None else weight.axis + 1)


def _write_parameters(weight: Quantized, to: Writer, coding: Coding) -> None:
    write_array(to, weight.scale, coding)
    write_array(to, weight.zero_point, coding)


@_write.register(Codebook)
def _(weight: Codebook, to: Writer, coding: Coding, grid: Grid) -> None:
    to.byte(Kind.CODEBOOK)
    to.number(len(weight.centroids))
    write_array(to, weight.centroids, coding, increasing=True)
    if len(weight.centroids):
        write_symbols(to, weight.indices, len(weight.centroids), grid, coding)


@_write.register(Sparse)
def _(weight: Sparse, to: Writer, coding: Coding, grid: Grid) -> None:
    to.byte(Kind.SPARSE)
    to.number(len(weight.positions))
    if isinstance(coding, DeepCompression):
        return _write_relative(weight, to, coding, grid)
    kept = np.zeros(grid.elements, dtype=bool)
    kept[weight.positions] = True
    tiling = filled(kept, weight.shape, _FULL)
    stride = write_positions(to, tiling.blocks(kept), tiling)
    _write(weight.values, to, coding, Grid(grid.rows, grid.columns, stride, weight.positions))


def _write_relative(weight: Sparse, to: Writer, coding: DeepCompression, grid: Grid) -> None:
    bits = coding.index_bits(weight.shape)
    positions, fillers = padding_positions(weight.positions, bits)
    to.byte(Positions.RELATIVE)
    to.byte(bits)
    to.number(len(positions))
    gaps = np.diff(positions, prepend=np.int64(-1)) - 1
    write_symbols(to, gaps, 1 << bits, Grid(1, len(gaps)), coding)
    _write(pad(weight.values, fillers), to, coding, Grid(grid.rows, grid.columns, 0, positions))


def read_weight(source: Reader) -> Weight:
    """The weight that :func:`write_weight` wrote; raises FormatError, or WeightError where its parts
    contradict each other."""
    shape = source.sequence(source.size)
    if _too_large(shape):
        raise FormatError(f"a weight of shape {shape} is too large")
    return _read(source, shape, Grid.of(shape))


def _read(source: Reader, shape: tuple[int, ...], grid: Grid) -> Weight:
    kind = source.member(Kind)
    if kind in (Kind.SPARSE, Kind.QUANTIZED_SPARSE) and grid.positions is not None:
        raise FormatError("the values of a sparse weight are sparse themselves")
    match kind:
        case Kind.DENSE:
            dtype = source.member(layout.DTYPES)
            return Dense(read_array(source, math.prod(shape), dtype).reshape(shape))
        case Kind.QUANTIZED | Kind.QUANTIZED_IN_BLOCKS:
            return _read_quantized(source, shape, grid, kind)
        case Kind.QUANTIZED_SPARSE:
            return _read_quantized_sparse(source, shape, grid)
        case Kind.CODEBOOK:
            return _read_codebook(source, shape, grid)
        case Kind.SPARSE:
            return _read_sparse(source, shape, grid)


def _read_quantized(source: Reader, shape: tuple[int, ...], grid: Grid, kind: Kind) -> Weight:
    dtype, bits, axis = _read_type(source, shape)
    block = _read_block(source, shape, axis) if kind is Kind.QUANTIZED_IN_BLOCKS else None
    count = math.prod(shape)
    source.budget.charge(4 * count)
    ints = _read_ints(source, count, dtype, bits, grid) if bits <= 16 else read_array(source, count, dtype)
    scale, zero_point = _read_parameters(source, parameter_shape(shape, axis, block), dtype)
    return Quantized(ints.reshape(shape), scale, zero_point, axis, bits, block)


def _read_quantized_sparse(source: Reader, shape: tuple[int, ...], grid: Grid) -> Weight:
    dtype, bits, axis = _read_type(source, shape)
    if bits > 16:
        raise FormatError(f"a quantized weight of {bits} bits is stored whole")
    block = _read_block(source, shape, axis, absent=True)
    kept = source.number(grid.elements)
    source.budget.charge(8 * grid.elements + 8 * kept)
    kind = source.member(Positions)
    if kind is Positions.RELATIVE:
        raise FormatError("a quantized weight has no relative indices")
    positions, stride = read_positions(source, shape, kept, kind)
    values = _read_ints(source, kept, dtype, bits, Grid(grid.rows, grid.columns, stride, positions))
    scale, zero_point = _read_parameters(source, parameter_shape(shape, axis, block), dtype)
    # In rows: broadcasting along the first axis would be copied in columns, and the flat view below be a copy.
    ints = np.array(np.broadcast_to(spread(zero_point, shape, axis, block), shape), order="C")
    ints.reshape(-1)[positions] = values
    return Quantized(ints, scale, zero_point, axis, bits, block)


def _read_type(source: Reader, shape: tuple[int, ...]) -> tuple[np.dtype[np.integer], int, int | None]:
    dtype = np.dtype(source.member(layout.QUANTIZED_DTYPES))
    bits, place = source.byte(), source.number(len(shape))
    if not 1 <= bits <= 8 * dtype.itemsize:
        raise FormatError(f"a weight of {dtype} cannot be quantized to {bits} bits")
    return dtype, bits, place - 1 if place else None


def _read_ints(
    source: Reader, count: int, dtype: np.dtype[np.integer], bits: int, grid: Grid
) -> npt.NDArray[np.integer]:
    symbols = read_symbols(source, count, 1 << bits, grid)
    return (symbols.astype(np.int32) + _lowest(dtype, bits)).astype(dtype)


def _read_parameters(
    source: Reader, shape: tuple[int, ...], dtype: np.dtype[np.integer]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.integer]]:
    count = math.prod(shape)
    scale = read_array(source, count, np.dtype(np.float32), Part.TABLE).reshape(shape)
    return scale, read_array(source, count, dtype, Part.TABLE).reshape(shape)


def _read_block(
    source: Reader, shape: tuple[int, ...], axis: int | None, *, absent: bool = False
) -> int | None:
    block = source.number(layout.MAX_ELEMENTS)
    if absent and block == 0:
        return None
    if axis is None or not 1 <= block <= max(1, shape[axis]):
        raise FormatError(f"a weight of shape {shape} cannot have blocks of {block} along axis {axis}")
    return block


def _read_codebook(source: Reader, shape: tuple[int, ...], grid: Grid) -> Weight:
    count = math.prod(shape)
    centroids = read_array(source, source.number(layout.MAX_CENTROIDS), np.dtype(np.float32), Part.TABLE)
    source.budget.charge(4 * count)
    if not len(centroids):
        return Codebook(np.zeros(_empty(shape), np.uint8), centroids)
    symbols = read_symbols(source, count, len(centroids), grid)
    return Codebook(symbols.astype(index_dtype(len(centroids))).reshape(shape), centroids)


def _empty(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape):
        raise FormatError(f"a weight of shape {shape} has a codebook without centroids")
    return shape


def _read_sparse(source: Reader, shape: tuple[int, ...], grid: Grid) -> Weight:
    kept = source.number(grid.elements)
    source.budget.charge(4 * grid.elements + 8 * kept)
    kind = source.member(Positions)
    if kind is Positions.RELATIVE:
        return _read_relative(source, shape, grid, kept)
    positions, stride = read_positions(source, shape, kept, kind)
    values = _read(source, (kept,), Grid(grid.rows, grid.columns, stride, positions))
    _charge_decoded(source, values, grid)
    return Sparse(shape, positions, values)


def _read_relative(source: Reader, shape: tuple[int, ...], grid: Grid, kept: int) -> Weight:
    bits = source.byte()
    if not 1 <= bits <= 16:
        raise FormatError(f"a relative index has {bits} bits; 1 to 16 are possible")
    entries = source.number(grid.elements)
    source.budget.charge(24 * entries)
    gaps = read_symbols(source, entries, 1 << bits, Grid(1, entries), Part.INDEX).astype(np.int64)
    positions = np.cumsum(gaps + 1) - 1
    if entries and positions[-1] >= grid.elements:
        raise FormatError(f"a relative index leads to element {positions[-1]} of {grid.elements}")
    padded = _read(source, (entries,), Grid(grid.rows, grid.columns, 0, positions))
    values, held = unpad(padded)
    if len(held) != kept or not np.array_equal(padding_positions(positions[held], bits)[0], positions):
        raise FormatError("the filler zeros of a sparse weight are not where an encoder puts them")
    _charge_decoded(source, values, grid)
    return Sparse(shape, positions[held], values)


def _charge_decoded(source: Reader, values: Weight, grid: Grid) -> None:
    # Four bytes an element were charged before anything was allocated; wider values decode to more.
    source.budget.charge(max(0, decoded_dtype(values).itemsize - 4) * grid.elements)


def _lowest(dtype: np.dtype[np.generic], bits: int) -> int:
    return -(1 << bits - 1) if dtype.kind == "i" else 0
