"""TensorProto to NumPy array; every claimed size is checked before anything is allocated."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gossamer.errors import FormatError, UnsupportedError

from .wire import Message

Array = npt.NDArray[np.generic]

# Element type by its number in TensorProto.DataType, and the field that holds its values where raw_data does not.
_FLOATS, _INT32S, _INT64S, _DOUBLES, _UINT64S = 4, 5, 7, 10, 11
_TYPES: dict[int, tuple[str, int]] = {
    1: ("float32", _FLOATS),
    2: ("uint8", _INT32S),
    3: ("int8", _INT32S),
    4: ("uint16", _INT32S),
    5: ("int16", _INT32S),
    6: ("int32", _INT32S),
    7: ("int64", _INT64S),
    9: ("bool", _INT32S),
    10: ("float16", _INT32S),
    11: ("float64", _DOUBLES),
    12: ("uint32", _UINT64S),
    13: ("uint64", _UINT64S),
}
_OTHERS = {8: "string", 14: "complex64", 15: "complex128", 16: "bfloat16", 21: "uint4", 22: "int4"}
NIBBLES = {21: "uint8", 22: "int8"}  # uint4 and int4, widened: DequantizeLinear gives the same
_EXTERNAL = 1


def dtype_name(number: int, place: str) -> str:
    """NumPy's name of an ONNX element type. FormatError, UnsupportedError."""
    if number in _TYPES:
        return _TYPES[number][0]
    if number < 1:
        raise FormatError(f"{place}: element type {number} is not one of ONNX")
    raise UnsupportedError(
        f"{place}: element type {_OTHERS.get(number, number)} is not supported; supported are "
        + ", ".join(name for name, _ in _TYPES.values())
    )


def to_array(tensor: Message, place: str, folder: Path | None) -> Array:
    """The tensor, read-only. ``folder``: where external data may lie (None: nowhere)."""
    if tensor.integer(2) in NIBBLES:
        return _nibbles(tensor, place, folder)
    name = dtype_name(tensor.integer(2), place)
    dtype = np.dtype(name)
    if tensor.has(3):
        raise UnsupportedError(f"{place}: a tensor stored in segments is not supported")
    shape = _shape(tensor, place)
    count = math.prod(shape)
    if tensor.integer(14) == _EXTERNAL:
        array = np.frombuffer(
            _external(tensor, count * dtype.itemsize, place, folder), dtype.newbyteorder("<")
        )
    elif tensor.has(9):
        array = _from_bytes(tensor.raw(9), dtype, count, place)
    else:
        array = _from_numbers(tensor, name, count, place)
    array = array.astype(dtype, copy=False).reshape(shape)
    array.flags.writeable = False
    return array


def _shape(tensor: Message, place: str) -> tuple[int, ...]:
    shape = tensor.integers(1)
    if any(size < 0 for size in shape):
        raise FormatError(f"{place}: negative dimension in shape {list(shape)}")
    return shape


def _nibbles(tensor: Message, place: str, folder: Path | None) -> Array:
    """Two numbers a byte, the first in the low half."""
    shape = _shape(tensor, place)
    count = math.prod(shape)
    need = (count + 1) // 2
    if tensor.integer(14) == _EXTERNAL:
        packed = np.frombuffer(_external(tensor, need, place, folder), np.uint8)
    elif tensor.has(9):
        packed = _from_bytes(tensor.raw(9), np.dtype(np.uint8), need, place).view(np.uint8)
    else:
        packed = np.array([value & 0xFF for value in tensor.integers(_INT32S)], np.uint8)
    if len(packed) != need:
        raise FormatError(f"{place}: its shape needs {need} bytes, the file holds {len(packed)}")
    halves = np.stack([packed & 0xF, packed >> 4], axis=1).reshape(-1)[:count]
    values = halves if NIBBLES[tensor.integer(2)] == "uint8" else ((halves ^ 8).astype(np.int8) - np.int8(8))
    values = values.reshape(shape)
    values.flags.writeable = False
    return values


def _from_bytes(raw: memoryview, dtype: np.dtype[np.generic], count: int, place: str) -> Array:
    if len(raw) != count * dtype.itemsize:
        raise FormatError(
            f"{place}: its shape needs {count * dtype.itemsize} bytes, the file holds {len(raw)}"
        )
    if dtype == np.bool_ and max(raw, default=0) > 1:
        raise FormatError(f"{place}: a boolean tensor holds bytes other than 0 and 1")
    return np.frombuffer(raw, dtype.newbyteorder("<"))


def _from_numbers(tensor: Message, name: str, count: int, place: str) -> Array:
    field = _TYPES[tensor.integer(2)][1]
    if field in (_FLOATS, _DOUBLES):
        form = np.dtype("<f4" if field == _FLOATS else "<f8")
        values = np.frombuffer(tensor.fixed(field, "<f" if field == _FLOATS else "<d"), form)
    else:
        integers = tensor.integers(field)
        limit = np.iinfo(np.uint16 if name == "float16" else np.uint8 if name == "bool" else name)
        unsigned = [value % (1 << 64) if name == "uint64" else value for value in integers]
        if unsigned and not limit.min <= min(unsigned) <= max(unsigned) <= limit.max:
            raise FormatError(f"{place}: a value does not fit {name}")
        values = np.array(unsigned, limit.dtype)
        values = values.view(np.float16) if name == "float16" else values
    if len(values) != count:
        raise FormatError(f"{place}: its shape needs {count} values, the file holds {len(values)}")
    return values.astype(name)


def _external(tensor: Message, need: int, place: str, folder: Path | None) -> bytes:
    entries = {entry.text(1): entry.text(2) for entry in tensor.messages(13, place)}
    if folder is None:
        raise FormatError(f"{place}: the values lie in another file; load the model from its path")
    path = _inside(folder, entries.get("location", ""), place)
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or need)
    except ValueError as error:
        raise FormatError(f"{place}: external data offset or length is not a number") from error
    if length != need:
        raise FormatError(f"{place}: its shape needs {need} bytes, the file claims {length}")
    size = path.stat().st_size
    if offset < 0 or offset + length > size:
        raise FormatError(
            f"{place}: bytes {offset} to {offset + length} lie outside {path.name} ({size} bytes)"
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _inside(folder: Path, location: str, place: str) -> Path:
    """The external file, which must be a regular file inside ``folder``, symbolic links followed."""
    root = folder.resolve()
    try:
        path = (root / location).resolve()
        regular = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise FormatError(f"{place}: external data location {location!r}: {error}") from error
    if not location or not path.is_relative_to(root):
        raise FormatError(f"{place}: external data location {location!r} is outside the model's folder")
    if not regular:
        raise FormatError(f"{place}: external data file {location!r} is missing beside the model")
    return path
