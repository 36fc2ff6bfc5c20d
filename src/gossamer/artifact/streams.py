"""Streams of symbols, and arrays as streams of symbols."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from gossamer import _native
from gossamer.errors import FormatError

from .coding import Coding, DeepCompression
from .layout import Coder, Form
from .wire import Part, Reader, Writer

_T = TypeVar("_T", bound=np.generic)
Symbols = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]

# The VALUES coder takes some 20 ns a bit. It is used where its bits are no more than the elements of the
# decoded weight, so that decoding stays above 100 MB of weights a second, and in streams too short to matter.
_SHORT = 1 << 14
_MAX_VALUES_ALPHABET = 1024


@dataclass(frozen=True)
class Grid:
    """Where the symbols of a stream sit in their weight: the context of the VALUES coder.

    ``positions``: int64, flat and increasing; None where there is a symbol at every position.
    """

    rows: int
    columns: int
    stride: int = 0
    positions: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls, shape: tuple[int, ...], stride: int = 0, positions: npt.NDArray[np.int64] | None = None
    ) -> Grid:
        """A weight as a matrix: the first dimension by all others; a vector is one row."""
        rows = shape[0] if len(shape) > 1 else 1
        return cls(rows, math.prod(shape[1:] if len(shape) > 1 else shape), stride, positions)

    @property
    def elements(self) -> int:
        """Elements of the whole weight."""
        return self.rows * self.columns

    def all_positions(self) -> npt.NDArray[np.int64]:
        """Flat positions of all symbols."""
        return np.arange(self.elements, dtype=np.int64) if self.positions is None else self.positions

    @property
    def size(self) -> tuple[int, int, int]:
        """What the native coders want to know."""
        return self.rows, self.columns, self.stride


def _encode(coder: Coder, symbols: Symbols, alphabet: int, grid: Grid) -> bytes:
    match coder:
        case Coder.PACKED:
            return _native.packed_encode(symbols, alphabet)
        case Coder.HUFFMAN:
            return _native.huffman_encode(symbols, alphabet)
        case Coder.RANS:
            return _native.rans_encode(symbols, alphabet)
        case Coder.VALUES:
            return _native.values_encode(symbols, alphabet, grid.all_positions(), *grid.size)


def _decode(coder: Coder, data: Bytes, alphabet: int, grid: Grid, out: Symbols) -> None:
    match coder:
        case Coder.PACKED:
            _native.packed_decode(data, alphabet, out)
        case Coder.HUFFMAN:
            _native.huffman_decode(data, alphabet, out)
        case Coder.RANS:
            _native.rans_decode(data, alphabet, out)
        case Coder.VALUES:
            if alphabet > _MAX_VALUES_ALPHABET:
                raise FormatError(f"the VALUES coder cannot have {alphabet} symbols")
            _native.values_decode(data, alphabet, grid.all_positions(), *grid.size, out)


def _candidates(count: int, alphabet: int, grid: Grid, coding: Coding) -> list[Coder]:
    if isinstance(coding, DeepCompression):
        return [coding.coder]
    bits = count * (alphabet - 1).bit_length()
    slow = alphabet > _MAX_VALUES_ALPHABET or bits > max(_SHORT, grid.elements)
    return [Coder.PACKED, Coder.HUFFMAN, Coder.RANS] if slow else list(Coder)


def write_symbols(
    to: Writer, symbols: npt.NDArray[np.integer], alphabet: int, grid: Grid, coding: Coding
) -> None:
    """Symbols below ``alphabet``: the coder and the stream; the reader knows their number and alphabet."""
    flat: Symbols = np.ascontiguousarray(symbols.reshape(-1), dtype=np.uint16)
    coders = _candidates(len(flat), alphabet, grid, coding)
    coded = [(_encode(coder, flat, alphabet, grid), coder) for coder in coders]
    data, coder = min(coded, key=lambda item: (len(item[0]), item[1]))
    to.byte(coder)
    to.stream(data)


def read_symbols(source: Reader, count: int, alphabet: int, grid: Grid, part: Part = Part.WEIGHT) -> Symbols:
    """``count`` symbols below ``alphabet``, uint16."""
    coder = source.member(Coder)
    source.budget.charge(count * (10 if coder is Coder.VALUES else 2))
    stream = source.stream(part, coder.name.lower(), (alphabet - 1).bit_length())
    data = np.frombuffer(stream, dtype=np.uint8)
    out = np.empty(count, dtype=np.uint16)
    _decode(coder, data, alphabet, grid, out)
    return out


def _row(count: int) -> Grid:
    return Grid(1, count)


def _planes(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """(itemsize, n) byte planes, the most significant first. A float's sign goes last, so that exponents
    stay whole."""
    width = values.dtype.itemsize
    words = values.view(f"u{width}")
    if values.dtype.kind == "f":
        top = words.dtype.type(8 * width - 1)
        words = words << words.dtype.type(1) | words >> top
    return np.ascontiguousarray(words.astype(f">u{width}").view(np.uint8).reshape(-1, width).T)


def _from_planes(planes: npt.NDArray[np.uint8], dtype: np.dtype[_T]) -> npt.NDArray[_T]:
    width = dtype.itemsize
    words = np.ascontiguousarray(planes.T).view(f">u{width}").reshape(-1).astype(f"u{width}")
    if dtype.kind == "f":
        top = words.dtype.type(8 * width - 1)
        words = words >> words.dtype.type(1) | words << top
    return words.view(dtype)


def _keys(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Integers in the order of the floats."""
    bits = values.view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32)


def _from_keys(keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    return np.where(keys >> 31, keys & np.uint32((1 << 31) - 1), ~keys).astype(np.uint32).view(np.float32)


def _plane_alphabet(dtype: np.dtype[np.generic]) -> int:
    return 2 if dtype.kind == "b" else 256


def _write_planes(to: Writer, values: npt.NDArray[np.generic], coding: Coding) -> None:
    for plane in _planes(values):
        write_symbols(to, plane.astype(np.uint16), _plane_alphabet(values.dtype), _row(len(plane)), coding)


def _write_form(form: Form, values: npt.NDArray[np.generic], coding: Coding) -> Writer:
    to = Writer()
    to.byte(form)
    match form:
        case Form.PLAIN:
            to.stream(values.astype(values.dtype.newbyteorder("<")).tobytes())
        case Form.PLANES:
            _write_planes(to, values, coding)
        case Form.SORTED:
            _write_planes(to, np.diff(_keys(values.astype(np.float32)), prepend=np.uint32(0)), coding)
    return to


def write_array(
    to: Writer, values: npt.NDArray[np.generic], coding: Coding, *, increasing: bool = False
) -> None:
    """The elements of an array; shape and dtype are known from elsewhere. ``increasing``: sorted float32."""
    flat = np.ascontiguousarray(values).reshape(-1)
    forms = [Form.PLAIN]
    if not isinstance(coding, DeepCompression) and len(flat):
        forms += [Form.PLANES, Form.SORTED] if increasing else [Form.PLANES]
    to.shortest([_write_form(form, flat, coding) for form in forms])


def read_array(source: Reader, count: int, dtype: np.dtype[_T], part: Part = Part.WEIGHT) -> npt.NDArray[_T]:
    """``count`` elements of ``dtype``, one-dimensional, writeable."""
    form = source.member(Form)
    source.budget.charge(count * dtype.itemsize * (1 if form is Form.PLAIN else 3))
    if form is Form.PLAIN:
        data = source.stream(part, "plain", 8 * dtype.itemsize)
        if len(data) != count * dtype.itemsize:
            raise FormatError(f"{count} elements of {dtype} are not {len(data)} bytes")
        if dtype.kind == "b" and (np.frombuffer(data, dtype=np.uint8) > 1).any():
            raise FormatError("an array of bool has a byte that is neither 0 nor 1")
        return np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype)
    if form is Form.SORTED:
        if dtype != np.float32:
            raise FormatError(f"an array of {dtype} cannot be stored as differences")
        steps = _read_planes(source, count, np.dtype(np.uint32), part)
        return cast("npt.NDArray[_T]", _from_keys(np.cumsum(steps, dtype=np.uint32)))
    return _read_planes(source, count, dtype, part)


def _read_planes(source: Reader, count: int, dtype: np.dtype[_T], part: Part) -> npt.NDArray[_T]:
    planes = np.empty((dtype.itemsize, count), dtype=np.uint8)
    for plane in planes:
        plane[:] = read_symbols(source, count, _plane_alphabet(dtype), _row(count), part)
    return _from_planes(planes, dtype)
