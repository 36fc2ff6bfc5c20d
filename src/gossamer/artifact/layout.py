"""Every constant of the ``.goss`` format. docs/format.md says in words what this page says in numbers."""

from __future__ import annotations

import enum
import struct

import numpy as np

MAGIC = b"GOSS"
VERSION = 1

# magic, version, bytes of the whole file, bytes of the structure as text, bytes of the structure as coded.
HEADER = struct.Struct("<4sHQII")
# CRC-32 (IEEE 802.3) of everything before it.
TRAILER = struct.Struct("<I")

MAX_STRUCTURE = 1 << 24
MAX_RANK = 32
MAX_ELEMENTS = 1 << 48
MAX_CENTROIDS = 1 << 16
# What a file may decode to unless the reader is told otherwise: a floor, and a multiple of the file's own
# size.
DEFAULT_BYTES = 1 << 28
DEFAULT_RATIO = 1 << 9


class Kind(enum.IntEnum):
    """Representation of a weight."""

    DENSE = 0
    QUANTIZED = 1
    CODEBOOK = 2
    SPARSE = 3
    QUANTIZED_IN_BLOCKS = 4
    QUANTIZED_SPARSE = 5


class Coder(enum.IntEnum):
    """How a stream of symbols is coded; in the order in which an encoder prefers them at equal size."""

    PACKED = 0
    HUFFMAN = 1
    RANS = 2
    VALUES = 3


class Positions(enum.IntEnum):
    """How the positions of kept elements are coded."""

    PATTERN = 0
    RELATIVE = 1
    BLOCKS = 2


class Form(enum.IntEnum):
    """How the elements of an array become symbols."""

    PLAIN = 0  # little-endian bytes, not coded further
    PLANES = 1  # byte planes, the most significant first
    SORTED = 2  # differences of increasing float32 values, in byte planes


class Tag(enum.IntEnum):
    """Type of an operation's attribute."""

    INT = 0
    FLOAT = 1
    STRING = 2
    INTS = 3
    FLOATS = 4
    STRINGS = 5
    TENSOR = 6
    GRAPH = 7


DTYPES: tuple[np.dtype[np.generic], ...] = tuple(
    np.dtype(name)
    for name in (
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
    )
)
QUANTIZED_DTYPES = ("int8", "uint8", "int16", "int32")
