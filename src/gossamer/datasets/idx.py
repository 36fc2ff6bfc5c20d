"""IDX, the format of MNIST and of the data sets made in its likeness.

Big-endian: two zero bytes, one byte of element type, one byte of rank, ``rank`` sizes of 32 bits, then the
elements in C order (LeCun, Cortes and Burges, "The MNIST database of handwritten digits"). Files are read
plain or gzipped.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from gossamer.errors import FormatError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
# Deflate spends at least two bits on 258 bytes, so no gzip file holds more than 1032 times its own size.
# Knowing that, a header that lies about its sizes is refused before anything is allocated for it.
_DEFLATE_LIMIT = 1032


def read_idx(path: str | Path) -> NDArray[Any]:
    """The array in the IDX file at ``path``, in native byte order, of the rank and sizes its header says.

    Raises ``FormatError`` where the file is no IDX file, ends early or goes on after the last element, and
    ``OSError`` where it cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP_MAGIC
    limit = path.stat().st_size * (_DEFLATE_LIMIT if compressed else 1)
    try:
        with cast("IO[bytes]", gzip.open(path) if compressed else path.open("rb")) as file:
            return _read(file, limit, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: damaged gzip data ({error}); fetch the file again") from error


def _read(file: IO[bytes], limit: int, path: Path) -> NDArray[Any]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        raise FormatError(f"{path}: starts with {magic.hex(' ') or 'nothing'}, which is no IDX magic number")
    dtype, rank = np.dtype(_DTYPES[magic[2]]), magic[3]
    header = file.read(4 * rank)
    if len(header) < 4 * rank:
        raise FormatError(f"{path}: ends inside its header of {rank} sizes; fetch the file again")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    expected = math.prod(shape) * dtype.itemsize
    if expected > limit:
        raise FormatError(f"{path}: declares {shape}, more than a file of its size can hold")
    data = file.read(expected)
    if len(data) < expected:
        raise FormatError(f"{path}: {len(data)} of {expected} bytes; fetch the file again")
    if file.read(1):
        raise FormatError(f"{path}: goes on after the {expected} bytes that {shape} needs")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
