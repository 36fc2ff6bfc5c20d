"""Weights as structure and streams: one writer and one reader for each representation."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from gossamer import _native
from gossamer.errors import FormatError, UnsupportedError
from gossamer.weights import Codebook, Dense, Quantized, Sparse, Weight, index_dtype, parameter_shape, shape
from gossamer.weights import dtype as decoded_dtype

from . import layout
from .coding import Coding, DeepCompression
from .layout import Kind, Positions
from .padding import pad, padding_positions, unpad
from .streams import Grid, read_array, read_symbols, write_array, write_symbols
from .wire import Part, Reader, Writer

_MAX_LAG = 64


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
    to.byte(Kind.QUANTIZED if weight.block is None else Kind.QUANTIZED_IN_BLOCKS)
    to.byte(layout.QUANTIZED_DTYPES.index(weight.ints.dtype.name))
    to.byte(weight.bits)
    to.number(0 if weight.axis is None else weight.axis + 1)
    if weight.block is not None:
        to.number(weight.block)
    if weight.bits <= 16:
        low = _lowest(weight.ints.dtype, weight.bits)
        write_symbols(to, weight.ints.astype(np.int64) - low, 1 << weight.bits, grid, coding)
    else:
        write_array(to, weight.ints, coding)
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
    tried = [
        (_native.pattern_encode(weight.positions, grid.rows, grid.columns, stride), stride)
        for stride in _strides(weight, grid)
    ]
    data, stride = min(tried, key=lambda item: (len(item[0]), item[1]))
    to.byte(Positions.PATTERN)
    to.number(stride)
    to.stream(data)
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


def _strides(weight: Sparse, grid: Grid) -> list[int]:
    """Distances at which columns may be neighbours: none, a kernel's width, and where densities of columns
    repeat.

    In integers, so that every machine tries the same ones.
    """
    found = {0}
    if grid.rows < 2 or grid.columns < 4 or not len(weight.positions):
        return [0]
    if len(weight.shape) > 2:
        found.add(weight.shape[-1])
    counts = np.bincount(weight.positions % grid.columns, minlength=grid.columns).astype(np.int64)
    lags = range(2, min(_MAX_LAG, grid.columns // 2) + 1)
    # Mean squared difference at every lag, scaled so that the division loses nothing that matters.
    distances = [
        int(((counts[lag:] - counts[:-lag]) ** 2).sum()) * 4096 // (grid.columns - lag) for lag in lags
    ]
    found.update(lag for _, lag in sorted(zip(distances, lags, strict=True))[:2])
    return sorted(lag for lag in found if lag <= grid.columns)


def read_weight(source: Reader) -> Weight:
    """The weight that :func:`write_weight` wrote; raises FormatError, or WeightError where its parts
    contradict each other."""
    shape = source.sequence(source.size)
    if _too_large(shape):
        raise FormatError(f"a weight of shape {shape} is too large")
    return _read(source, shape, Grid.of(shape))


def _read(source: Reader, shape: tuple[int, ...], grid: Grid) -> Weight:
    match source.member(Kind):
        case Kind.DENSE:
            dtype = source.member(layout.DTYPES)
            return Dense(read_array(source, math.prod(shape), dtype).reshape(shape))
        case Kind.QUANTIZED:
            return _read_quantized(source, shape, grid, in_blocks=False)
        case Kind.QUANTIZED_IN_BLOCKS:
            return _read_quantized(source, shape, grid, in_blocks=True)
        case Kind.CODEBOOK:
            return _read_codebook(source, shape, grid)
        case Kind.SPARSE:
            return _read_sparse(source, shape, grid)


def _read_quantized(source: Reader, shape: tuple[int, ...], grid: Grid, *, in_blocks: bool) -> Weight:
    dtype = np.dtype(source.member(layout.QUANTIZED_DTYPES))
    bits, place = source.byte(), source.number(len(shape))
    axis = place - 1 if place else None
    block = _read_block(source, shape, axis) if in_blocks else None
    count = math.prod(shape)
    source.budget.charge(4 * count)
    if not 1 <= bits <= 8 * dtype.itemsize:
        raise FormatError(f"a weight of {dtype} cannot be quantized to {bits} bits")
    if bits <= 16:
        symbols = read_symbols(source, count, 1 << bits, grid)
        ints = (symbols.astype(np.int32) + _lowest(dtype, bits)).astype(dtype)
    else:
        ints = read_array(source, count, dtype)
    parameters = parameter_shape(shape, axis, block)
    scale = read_array(source, math.prod(parameters), np.dtype(np.float32), Part.TABLE).reshape(parameters)
    zero_point = read_array(source, math.prod(parameters), dtype, Part.TABLE).reshape(parameters)
    return Quantized(ints.reshape(shape), scale, zero_point, axis, bits, block)


def _read_block(source: Reader, shape: tuple[int, ...], axis: int | None) -> int:
    block = source.number(layout.MAX_ELEMENTS)
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
    if grid.positions is not None:
        raise FormatError("the values of a sparse weight are sparse themselves")
    kept = source.number(grid.elements)
    source.budget.charge(4 * grid.elements + 8 * kept)
    if source.member(Positions) is Positions.RELATIVE:
        return _read_relative(source, shape, grid, kept)
    stride = source.number(grid.columns)
    positions = np.empty(kept, dtype=np.int64)
    stream = source.stream(Part.INDEX, "pattern", grid.elements / max(1, kept))
    data = np.frombuffer(stream, dtype=np.uint8)
    _native.pattern_decode(data, grid.rows, grid.columns, stride, positions)
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
