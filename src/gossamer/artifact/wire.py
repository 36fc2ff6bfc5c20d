"""The structure of a file as bytes: numbers, strings and lengths of streams, in order."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gossamer.errors import FormatError, UnsupportedError

from . import layout

T = TypeVar("T")
_FLOAT = struct.Struct("<d")


class Part(enum.Enum):
    """What a stream holds of a weight."""

    INDEX = "index"  # where the kept elements are
    WEIGHT = "weight"  # one symbol or value for each kept element
    TABLE = "table"  # centroids, scales and zero points


@dataclass(frozen=True)
class Stream:
    """One stream as it was read: what it holds, how it is coded, bits per symbol before coding, bytes
    after."""

    part: Part
    coder: str
    bits: float
    length: int


class Budget:
    """What decoding may still allocate. Every allocation is charged before it is made."""

    def __init__(self, max_bytes: int) -> None:
        self._limit = self._left = max_bytes

    def charge(self, count: int) -> None:
        """Take ``count`` bytes, or raise FormatError."""
        self._left -= count
        if self._left < 0:
            raise FormatError(
                f"the file decodes to more than {self._limit} bytes; if you trust it, pass a larger max_bytes"
            )


class Writer:
    """Collects the structure as bytes, and beside it the streams that the structure refers to."""

    def __init__(self) -> None:
        self.structure = bytearray()
        self.streams: list[bytes] = []
        self._strings: dict[str, int] = {}

    def byte(self, value: int) -> None:
        """One byte, 0 to 255."""
        self.structure.append(value)

    def number(self, value: int) -> None:
        """An integer from 0 to 2^64 - 1 as unsigned LEB128."""
        while value >= 0x80:
            self.structure.append(value & 0x7F | 0x80)
            value >>= 7
        self.structure.append(value)

    def signed(self, value: int) -> None:
        """An integer of 64 bits with its sign: 0, -1, 1, -2, ... are the numbers 0, 1, 2, 3, ..."""
        if not -(1 << 63) <= value < 1 << 63:
            raise UnsupportedError(f"the integer {value} does not fit 64 bits")
        self.number(value << 1 if value >= 0 else (-value << 1) - 1)

    def real(self, value: float) -> None:
        """A float of 64 bits."""
        self.structure += _FLOAT.pack(value)

    def string(self, value: str) -> None:
        """A string: 0, its length in bytes and its UTF-8 the first time; afterwards its number, from 1."""
        known = self._strings.get(value)
        if known is not None:
            return self.number(known)
        try:
            data = value.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedError(f"the string {value!r} is not valid Unicode: {error}") from error
        self._strings[value] = len(self._strings) + 1
        self.number(0)
        self.number(len(data))
        self.structure += data

    def sequence(self, items: Sequence[T], write: Callable[[T], None]) -> None:
        """A count and the items."""
        self.number(len(items))
        for item in items:
            write(item)

    def stream(self, data: bytes) -> None:
        """A stream: here its length; its bytes follow the structure, in the order of the lengths."""
        self.number(len(data))
        self.streams.append(data)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self.structure) + sum(map(len, self.streams))

    def shortest(self, written: Sequence[Writer]) -> None:
        """Of several ways to write the same, none of which has strings, the one with the fewest bytes; the first
        among equals."""
        best = min(written, key=lambda writer: writer.size)
        self.structure += best.structure
        self.streams += best.streams


class Reader:
    """Reads what a Writer wrote. Everything is checked against the end of the data."""

    def __init__(self, structure: bytes, streams: memoryview, budget: Budget) -> None:
        self._structure, self._at = structure, 0
        self._streams, self._stream_at = streams, 0
        self._strings: list[str] = []
        self.budget = budget
        self.log: list[Stream] = []

    def _take(self, count: int) -> bytes:
        if count > len(self._structure) - self._at:
            raise FormatError(f"structure is truncated: {count} bytes are missing at byte {self._at}")
        self._at += count
        return self._structure[self._at - count : self._at]

    def byte(self) -> int:
        """One byte."""
        return self._take(1)[0]

    def number(self, limit: int = (1 << 64) - 1) -> int:
        """An integer, at most ``limit``."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 63:
                raise FormatError(f"structure has a number above 2^64 at byte {self._at}")
        if value > limit or (byte == 0 and shift > 7):
            raise FormatError(
                f"structure has the number {value} at byte {self._at}, where at most {limit} may stand"
            )
        return value

    def signed(self) -> int:
        """An integer of 64 bits with its sign."""
        value = self.number()
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def real(self) -> float:
        """A float of 64 bits."""
        return float(_FLOAT.unpack(self._take(_FLOAT.size))[0])

    def string(self) -> str:
        """A string."""
        known = self.number()
        if known > len(self._strings):
            raise FormatError(
                f"structure refers to string {known} of {len(self._strings)} at byte {self._at}"
            )
        if known:
            return self._strings[known - 1]
        try:
            value = self._take(self.number()).decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"structure has a string that is not UTF-8 before byte {self._at}") from error
        self._strings.append(value)
        return value

    def sequence(self, read: Callable[[], T]) -> tuple[T, ...]:
        """A count and so many items; each takes at least a byte, so the count is bounded by what is left."""
        count = self.number(limit=len(self._structure) - self._at)
        return tuple(read() for _ in range(count))

    def member(self, members: Iterable[T]) -> T:
        """One of ``members``, by its place among them."""
        known = list(members)
        place = self.byte()
        if place >= len(known):
            raise FormatError(
                f"structure has the tag {place} at byte {self._at}, where 0 to {len(known) - 1} may stand"
            )
        return known[place]

    def size(self) -> int:
        """A number of elements."""
        return self.number(layout.MAX_ELEMENTS)

    def stream(self, part: Part, coder: str, bits: float) -> memoryview:
        """The bytes of the next stream; what it is goes into ``log``."""
        length = self.number()
        if length > len(self._streams) - self._stream_at:
            raise FormatError(f"a stream of {length} bytes does not fit into the file")
        self._stream_at += length
        self.log.append(Stream(part, coder, bits, length))
        return self._streams[self._stream_at - length : self._stream_at]

    def finish(self) -> None:
        """Raise FormatError unless everything was read."""
        left = len(self._structure) - self._at, len(self._streams) - self._stream_at
        if any(left):
            raise FormatError(f"{left[0]} bytes of structure and {left[1]} of streams belong to nothing")
