"""Programs to bytes and back, and to files and back."""

from __future__ import annotations

import os
import zlib

import numpy as np

from gossamer import _native
from gossamer.errors import FormatError, GraphError, UnsupportedError, WeightError

from . import layout
from .coding import Coding, Smallest
from .primer import PRIMER
from .program import Program, validate
from .structure import Observe, ignore, read_program, write_program
from .wire import Budget, Reader

_DEFAULT = Smallest()
_PRIMER = np.frombuffer(PRIMER, dtype=np.uint8)


def pack(program: Program, *, coding: Coding = _DEFAULT) -> bytes:
    """The bytes of a ``.goss`` file: equal programs give equal bytes, on any machine.

    Raises GraphError where names clash or are not declared, UnsupportedError where a value cannot be stored.
    """
    validate(program)
    to = write_program(program, coding)
    if len(to.structure) > layout.MAX_STRUCTURE:
        raise UnsupportedError(
            f"the program's structure takes {len(to.structure)} bytes; the format holds "
            f"{layout.MAX_STRUCTURE}: "
            f"move large attributes into weights"
        )
    coded = _native.text_encode(np.frombuffer(to.structure, dtype=np.uint8), _PRIMER)
    length = layout.HEADER.size + len(coded) + sum(map(len, to.streams)) + layout.TRAILER.size
    header = layout.HEADER.pack(layout.MAGIC, layout.VERSION, length, len(to.structure), len(coded))
    body = b"".join([header, coded, *to.streams])
    return body + layout.TRAILER.pack(zlib.crc32(body))


def default_limit(size: int) -> int:
    """What a file of ``size`` bytes may decode to unless the caller says otherwise, in bytes."""
    return layout.DEFAULT_BYTES + layout.DEFAULT_RATIO * size


def unpack(data: bytes | memoryview, *, max_bytes: int | None = None) -> Program:
    """The Program in the bytes of a ``.goss`` file; raises FormatError for anything else.

    ``max_bytes``: how much decoding may allocate, dense weights and working memory together; None for
    :func:`default_limit` of the file's size.
    """
    return decode(data, max_bytes, ignore)


def decode(data: bytes | memoryview, max_bytes: int | None, observe: Observe) -> Program:
    """``unpack``, telling ``observe`` about every weight on the way."""
    view = memoryview(data)
    budget = Budget(default_limit(len(view)) if max_bytes is None else max_bytes)
    structure, streams = _open(view, budget)
    source = Reader(structure, streams, budget)
    try:
        program = read_program(source, observe)
        source.finish()
        validate(program)
    except (WeightError, GraphError, UnsupportedError) as error:
        raise FormatError(f"the file contradicts itself: {error}") from error
    except MemoryError as error:
        raise FormatError("the file decodes to more than this machine's memory holds") from error
    return program


def _open(view: memoryview, budget: Budget) -> tuple[bytes, memoryview]:
    """Checks header and checksum; the structure as text, and the streams."""
    if len(view) < layout.HEADER.size + layout.TRAILER.size:
        raise FormatError(f"{len(view)} bytes are too few for a .goss file")
    magic, version, length, text, coded = layout.HEADER.unpack_from(view)
    if magic != layout.MAGIC:
        raise FormatError(f"not a .goss file: it begins with {bytes(magic)!r} instead of {layout.MAGIC!r}")
    if version != layout.VERSION:
        raise FormatError(
            f"version {version} of the .goss format; this gossamer reads version {layout.VERSION}"
        )
    if length != len(view):
        raise FormatError(
            f"the file has {len(view)} bytes and should have {length}: it was cut off or added to"
        )
    body = view[: -layout.TRAILER.size]
    if layout.TRAILER.unpack_from(view, len(body))[0] != zlib.crc32(body):
        raise FormatError("the checksum does not match: the file is damaged")
    if text > layout.MAX_STRUCTURE or coded > len(body) - layout.HEADER.size:
        raise FormatError(f"a structure of {text} bytes in {coded} does not fit into the file")
    budget.charge(text)
    structure = np.empty(text, dtype=np.uint8)
    streams_at = layout.HEADER.size + coded
    _native.text_decode(
        np.frombuffer(body[layout.HEADER.size : streams_at], dtype=np.uint8), _PRIMER, structure
    )
    return structure.tobytes(), body[streams_at:]


def read(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Program:
    """The Program in a ``.goss`` file. Raises FormatError, or OSError where the file cannot be opened."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        return unpack(data, max_bytes=max_bytes)
    except FormatError as error:
        raise FormatError(f"{os.fspath(path)}: {error}") from error


def write(program: Program, path: str | os.PathLike[str], *, coding: Coding = _DEFAULT) -> int:
    """Write a ``.goss`` file; returns its size in bytes.

    Raises SaveError where it could not be written; what stood there before is then whole.
    """
    from .whole_file import write_whole  # needs modules that reading does not

    data = pack(program, coding=coding)
    write_whole(path, data)
    return len(data)
