"""TensorProto to NumPy array and back, every claimed size checked before anything is read or allocated."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from gossamer.errors import FormatError, UnsupportedError
from gossamer.weights import Dense, Sparse

# Element types narrower than a byte are packed; a version of onnx that lacks one simply never meets it.
_PACKED_BITS = {
    **dict.fromkeys(("INT2", "UINT2"), 2),
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("FLOAT6E2M3", "FLOAT6E3M2"), 6),
}
_MAX_SPARSE_BYTES = 1 << 31  # what a sparse tensor may become when it is written out


def dtype_name(element_type: int, where: str) -> str:
    """NumPy's name of an ONNX element type ("float32"; ml_dtypes' name where NumPy has none: "bfloat16").

    Raises FormatError for a type that ONNX does not have, UnsupportedError for strings.
    """
    if element_type == TensorProto.STRING:
        raise UnsupportedError(f"{where}: string tensors are not supported; encode text outside the network")
    if element_type == TensorProto.UNDEFINED or element_type not in TensorProto.DataType.values():
        raise FormatError(f"{where}: element type {element_type} is not a tensor type of ONNX")
    return helper.tensor_dtype_to_np_dtype(element_type).name


_ELEMENT_TYPES = {
    dtype_name(number, name): number
    for name, number in TensorProto.DataType.items()
    if number not in (TensorProto.UNDEFINED, TensorProto.STRING)
}


def element_type(dtype: str, where: str) -> int:
    """The ONNX element type of a NumPy dtype name; the inverse of :func:`dtype_name`."""
    if dtype not in _ELEMENT_TYPES:
        raise UnsupportedError(f"{where}: ONNX has no tensor type for dtype {dtype!r}")
    return int(_ELEMENT_TYPES[dtype])


def from_array(array: npt.NDArray[np.generic], name: str) -> TensorProto:
    """The tensor as ONNX stores it: little-endian raw bytes."""
    element_type(array.dtype.name, name)
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def to_array(tensor: TensorProto, where: str, folder: Path | None) -> npt.NDArray[np.generic]:
    """The values of ``tensor``, read-only, of its shape and dtype.

    ``where`` names the tensor in messages; ``folder`` holds external data (None: there can be none). Raises
    FormatError where dims, type and bytes disagree, UnsupportedError for strings and segments.
    """
    dtype_name(tensor.data_type, where)
    if tensor.HasField("segment"):
        raise UnsupportedError(f"{where}: a tensor stored in segments is not supported")
    if any(size < 0 for size in tensor.dims):
        raise FormatError(f"{where}: negative dimension in shape {list(tensor.dims)}")
    if tensor.data_location == TensorProto.EXTERNAL:
        tensor = _with_external_data(tensor, where, folder)
    _check_size(tensor, where)
    try:
        array: npt.NDArray[np.generic] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{where}: {error}") from error
    if array.dtype == np.bool_ and (array.view(np.uint8) > 1).any():
        raise FormatError(f"{where}: a boolean tensor holds bytes other than 0 and 1")
    array.flags.writeable = False
    return array


def from_nibbles(array: npt.NDArray[np.integer], name: str) -> TensorProto:
    """Integers of four bits (int8 -8 to 7, uint8 0 to 15) in ONNX's own type: two to a byte, the first one low."""
    flat = array.astype(np.uint8).reshape(-1) & 0xF
    padded = np.append(flat, np.uint8(0)) if flat.size % 2 else flat
    kind = TensorProto.INT4 if array.dtype.kind == "i" else TensorProto.UINT4
    raw = (padded[0::2] | padded[1::2] << 4).astype(np.uint8).tobytes()
    return TensorProto(name=name, data_type=kind, dims=array.shape, raw_data=raw)


def _count(dims: Iterable[int]) -> int:
    return math.prod(dims)  # Python integers: a hostile product cannot overflow


def _raw_bytes(tensor: TensorProto) -> int:
    name = TensorProto.DataType.Name(tensor.data_type)
    itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-_count(tensor.dims) * _PACKED_BITS.get(name, 8 * itemsize) // 8)


def _check_size(tensor: TensorProto, where: str) -> None:
    if tensor.HasField("raw_data"):
        have, need, unit = len(tensor.raw_data), _raw_bytes(tensor), "bytes"
    else:
        have, need, unit = _typed_entries(tensor)
    if have != need:
        raise FormatError(f"{where}: shape {list(tensor.dims)} needs {need} {unit}, the file holds {have}")


def _typed_entries(tensor: TensorProto) -> tuple[int, int, str]:
    """Entries of the typed field (float_data, int32_data, ...) with the values: present, needed, its name."""
    field = helper.tensor_dtype_to_field(tensor.data_type)
    name = TensorProto.DataType.Name(tensor.data_type)
    need = _count(tensor.dims)
    if name.startswith("COMPLEX"):
        need *= 2
    elif _PACKED_BITS.get(name) in (2, 4):  # packed bytes, one to an entry; 6-bit values are not packed there
        need = _raw_bytes(tensor)
    return len(getattr(tensor, field)), need, f"entries of {field}"


def _with_external_data(tensor: TensorProto, where: str, folder: Path | None) -> TensorProto:
    if folder is None:
        raise FormatError(f"{where}: the values lie in another file; load the model from its path")
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _inside(folder, entries.get("location", ""), where)
    need = _raw_bytes(tensor)
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or need)
    except ValueError as error:
        raise FormatError(f"{where}: external data offset or length is not a number") from error
    if length != need:
        raise FormatError(f"{where}: shape {list(tensor.dims)} needs {need} bytes, the file claims {length}")
    loaded = onnx.TensorProto()
    loaded.CopyFrom(tensor)
    loaded.ClearField("external_data")
    loaded.ClearField("data_location")
    loaded.raw_data = _read(path, offset, length, where)
    return loaded


def _inside(folder: Path, location: str, where: str) -> Path:
    """The external file, which must be a regular file inside ``folder``, symbolic links followed."""
    root = folder.resolve()
    try:
        path = (root / location).resolve()
        regular = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise FormatError(f"{where}: external data location {location!r}: {error}") from error
    if not location or not path.is_relative_to(root):
        raise FormatError(f"{where}: external data location {location!r} is outside the model's folder")
    if not regular:
        raise FormatError(f"{where}: external data file {location!r} is missing beside the model")
    return path


def _read(path: Path, offset: int, length: int, where: str) -> bytes:
    size = os.path.getsize(path)
    if offset < 0 or offset + length > size:
        end = offset + length
        raise FormatError(f"{where}: bytes {offset} to {end} lie outside {path.name} ({size} bytes)")
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def sparse_weight(tensor: SparseTensorProto, where: str, folder: Path | None) -> Sparse:
    """A sparse tensor as a weight; values that are stored though they are zero are left out.

    Raises FormatError where indices leave the shape, repeat or are out of order.
    """
    values = to_array(tensor.values, f"{where}, values", folder)
    indices = to_array(tensor.indices, f"{where}, indices", folder).astype(np.int64)
    dims = tuple(tensor.dims)
    if not dims or any(size < 0 for size in dims) or _count(dims) * values.dtype.itemsize > _MAX_SPARSE_BYTES:
        raise FormatError(f"{where}: shape {list(dims)} is empty, negative or larger than 2 GiB")
    if values.ndim != 1 or indices.shape not in ((len(values),), (len(values), len(dims))):
        raise FormatError(f"{where}: {values.shape} values do not go with {indices.shape} indices")
    positions = indices if indices.ndim == 1 else _flat(indices, dims, where)
    inside = not len(positions) or (positions[0] >= 0 and positions[-1] < _count(dims))
    if not inside or (np.diff(positions) <= 0).any():
        raise FormatError(f"{where}: indices leave the shape {list(dims)}, repeat, or are out of order")
    kept = np.flatnonzero(values)
    return Sparse(dims, positions[kept], Dense(values[kept]))


def _flat(indices: npt.NDArray[np.int64], dims: tuple[int, ...], where: str) -> npt.NDArray[np.int64]:
    if ((indices < 0) | (indices >= np.array(dims))).any():
        raise FormatError(f"{where}: indices leave the shape {list(dims)}")
    return np.asarray(np.ravel_multi_index(tuple(indices.T), dims), dtype=np.int64)
