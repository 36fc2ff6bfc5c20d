"""How a weight's representation travels through an ONNX file, whose initializers are plain values.

A representation is canonical, so the values themselves determine almost all of it: a codebook's centroids are
the sorted distinct values, a sparse weight's positions are those of its non-zero values. The tag says which
representation it is, plus the few numbers that the values do not tell, plus a checksum of the values: a file
that another tool edited is noticed. It is JSON in ``TensorProto.metadata_props`` (IR version 10).
"""

from __future__ import annotations

import base64
import json
import zlib
from functools import singledispatch
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gossamer.errors import FormatError, UnsupportedError
from gossamer.weights import (
    Codebook,
    Dense,
    Quantized,
    Sparse,
    Weight,
    decode,
    equal,
    parameter_shape,
    representation,
    spread,
)

KEY = "gossamer"
_UNREADABLE = (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError, UnsupportedError)
Tag = dict[str, Any]


def write(weight: Weight, name: str) -> str | None:
    """The tag for the decoded values of ``weight``; None where the values alone say it (Dense).

    Raises FormatError for a weight that its plain values do not determine.
    """
    if isinstance(weight, Dense):
        return None
    values = decode(weight)
    form = _describe(weight)
    if not _gives_back(form, values, weight):
        raise FormatError(
            f"weight {name!r}: its values as plain numbers do not determine this {representation(weight)}: "
            "the file would read back differently; build it with gossamer.weights.sparsify and Codebook.of"
        )
    return _json({"weight": form, "crc32": zlib.crc32(values.tobytes())})


def read(tag: str, values: npt.NDArray[np.generic]) -> Weight | None:
    """The weight that ``tag`` describes, decoding to exactly ``values``; None where they do not match."""
    try:
        content = json.loads(tag)
        if content["crc32"] != zlib.crc32(values.tobytes()):
            return None
        weight = _restore(content["weight"], values)
    except _UNREADABLE:
        return None
    if weight is None or not equal(Dense(decode(weight)), Dense(values)):
        return None
    return weight


def write_bits(weight: Quantized) -> str:
    """The tag of the integers of a weight written as DequantizeLinear: the file holds all but ``bits``."""
    return _json({"bits": weight.bits, "crc32": zlib.crc32(weight.ints.tobytes())})


def read_bits(tag: str, ints: npt.NDArray[np.generic]) -> int | None:
    """``bits`` of integers tagged by :func:`write_bits`; None where tag and integers do not match."""
    try:
        content = json.loads(tag)
        bits, matches = content["bits"], content["crc32"] == zlib.crc32(ints.tobytes())
    except _UNREADABLE:
        return None
    return bits if matches and type(bits) is int else None


def _json(tag: Tag) -> str:
    return json.dumps(tag, separators=(",", ":"))


@singledispatch
def _describe(weight: Weight) -> Tag:
    raise TypeError(f"no tag for {type(weight).__name__}")


@_describe.register
def _(weight: Dense) -> Tag:
    return {"is": "dense"}


@_describe.register
def _(weight: Codebook) -> Tag:
    return {"is": "codebook"}


@_describe.register
def _(weight: Sparse) -> Tag:
    return {"is": "sparse", "values": _describe(weight.values)}


@_describe.register
def _(weight: Quantized) -> Tag:
    tag: Tag = {
        "is": "quantized",
        "dtype": weight.ints.dtype.name,
        "scale": _text(weight.scale),
        "zero_point": _text(weight.zero_point),
        "axis": weight.axis,
        "bits": weight.bits,
    }
    if weight.block is not None:
        tag["block"] = weight.block
    if not _gives_back(tag, decode(weight), weight):  # more bits than a float32 holds
        tag["ints"] = _text(weight.ints)
    return tag


def _gives_back(tag: Tag, values: npt.NDArray[np.generic], weight: Weight) -> bool:
    try:
        restored = _restore(tag, values)
    except (ValueError, UnsupportedError):
        return False
    return restored is not None and equal(restored, weight)


def _restore(tag: Tag, values: npt.NDArray[np.generic]) -> Weight | None:
    match tag["is"]:
        case "dense":
            return Dense(values)
        case "codebook":
            return _codebook(values)
        case "sparse":
            return _sparse(tag, values)
        case "quantized":
            return _quantized(tag, values)
        case _:
            return None


def _codebook(values: npt.NDArray[np.generic]) -> Codebook | None:
    if values.dtype != np.float32:
        return None
    centroids, indices = np.unique(cast("npt.NDArray[np.float32]", values), return_inverse=True)
    narrow = np.uint8 if len(centroids) <= 256 else np.uint16
    return Codebook(indices.reshape(values.shape).astype(narrow), centroids)


def _sparse(tag: Tag, values: npt.NDArray[np.generic]) -> Sparse | None:
    flat = values.reshape(-1)
    positions = np.flatnonzero(flat).astype(np.int64)
    kept = _restore(tag["values"], flat[positions])
    return None if kept is None else Sparse(values.shape, positions, kept)


def _quantized(tag: Tag, values: npt.NDArray[np.generic]) -> Quantized:
    """Inverts r = scale * (q - zero_point), or takes the integers from the tag where that loses them."""
    dtype, axis = np.dtype(tag["dtype"]), tag["axis"]
    if dtype.kind not in "iu" or values.dtype != np.float32:
        raise ValueError("quantized weights hold integers that decode to float32")
    block = tag.get("block")
    if block is not None and (type(block) is not int or block < 1):
        raise ValueError("a block is a number of neighbours")
    of_scale = parameter_shape(values.shape, axis, block)
    scale = _array(tag["scale"], np.dtype(np.float32), of_scale)
    zero_point = _array(tag["zero_point"], dtype, of_scale)
    if "ints" in tag:
        ints = _array(tag["ints"], dtype, values.shape)
    else:
        with np.errstate(all="ignore"):  # whatever is lost here shows in the comparison with the values
            steps = np.rint(values.astype(np.float64) / spread(scale, values.shape, axis, block))
            ints = (steps + spread(zero_point, values.shape, axis, block)).astype(dtype)
    return Quantized(ints, cast(Any, scale), cast(Any, zero_point), axis, tag["bits"], block)


def _text(array: npt.NDArray[np.generic]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _array(text: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=dtype).reshape(shape)
