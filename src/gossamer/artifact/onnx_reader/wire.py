"""The protobuf wire format, as far as a reader needs it: fields by number, nothing known of names.

https://protobuf.dev/programming-guides/encoding. Every length is checked against the bytes that are there; nothing is
copied before it is asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gossamer.errors import FormatError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


class Message:
    """One message: its fields by number. ``place`` names it in messages of errors.

    A field that occurs more than once and is asked for as one is the last one, as protobuf has it.
    """

    def __init__(self, data: memoryview, place: str) -> None:
        self.place = place
        self._fields: dict[int, list[int | memoryview]] = {}
        at = 0
        while at < len(data):
            key, at = self._varint(data, at)
            kind = key & 7
            if kind == _VARINT:
                value, at = self._varint(data, at)
                self._fields.setdefault(key >> 3, []).append(value)
                continue
            if kind == _BYTES:
                size, at = self._varint(data, at)
            elif kind in _FIXED_SIZES:
                size = _FIXED_SIZES[kind]
            else:
                raise FormatError(f"{place}: byte {at} begins no protobuf field")
            if size > len(data) - at:
                raise FormatError(f"{place}: a field of {size} bytes is truncated: {len(data) - at} are left")
            self._fields.setdefault(key >> 3, []).append(data[at : at + size])
            at += size

    def _varint(self, data: memoryview, at: int) -> tuple[int, int]:
        value = shift = 0
        while at < len(data) and shift < 70:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
        raise FormatError(f"{self.place}: a number is truncated at byte {at}")

    def has(self, number: int) -> bool:
        """Whether the field occurs."""
        return number in self._fields

    def raw(self, number: int) -> memoryview:
        """The bytes of a field; none where it does not occur."""
        found = self.raws(number)
        return found[-1] if found else memoryview(b"")

    def raws(self, number: int) -> list[memoryview]:
        """The bytes of every occurrence of a field."""
        found = [value for value in self._fields.get(number, ()) if isinstance(value, memoryview)]
        if len(found) != len(self._fields.get(number, ())):
            raise FormatError(f"{self.place}: field {number} is a number, where bytes are expected")
        return found

    def messages(self, number: int, place: str) -> Iterator[Message]:
        """Every message in a field."""
        return (Message(data, place) for data in self.raws(number))

    def message(self, number: int, place: str) -> Message:
        """The message in a field; an empty one where it does not occur."""
        return Message(self.raw(number), place)

    def texts(self, number: int) -> tuple[str, ...]:
        """Every text in a field."""
        try:
            return tuple(str(data, "utf-8") for data in self.raws(number))
        except UnicodeDecodeError as error:
            raise FormatError(f"{self.place}: text in field {number} is not UTF-8") from error

    def text(self, number: int) -> str:
        """The text in a field; empty where it does not occur."""
        return (self.texts(number) or ("",))[-1]

    def integers(self, number: int) -> tuple[int, ...]:
        """Every 64-bit integer with its sign in a field, packed or one by one."""
        found: list[int] = []
        for value in self._fields.get(number, ()):
            if isinstance(value, int):
                found.append(value)
                continue
            at = 0
            while at < len(value):
                one, at = self._varint(value, at)
                found.append(one)
        return tuple(value - (1 << 64) if value >> 63 else value for value in found)

    def integer(self, number: int, otherwise: int = 0) -> int:
        """The integer in a field."""
        return (self.integers(number) or (otherwise,))[-1]

    def fixed(self, number: int, form: str) -> bytes:
        """All numbers of a fixed size ("<f", "<d") in a field, packed or one by one, as they lie in the file."""
        data = b"".join(self.raws(number))
        if len(data) % struct.calcsize(form):
            raise FormatError(
                f"{self.place}: field {number} holds {len(data)} bytes, which are no whole numbers"
            )
        return data

    def floats(self, number: int) -> tuple[float, ...]:
        """Every 32-bit float in a field."""
        return tuple(value for (value,) in struct.iter_unpack("<f", self.fixed(number, "<f")))
