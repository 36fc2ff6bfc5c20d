"""Bits and numbers as bytes."""

from __future__ import annotations

from collections.abc import Iterator

from gossamer.errors import FormatError


class BitWriter:
    """Bits, the most significant of each byte first; the last byte is filled up with zeros."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def put(self, value: int, bits: int) -> None:
        """Append ``bits`` bits."""
        self._bits.append(f"{value:0{bits}b}" if bits else "")

    def bytes(self) -> bytes:
        """Everything written."""
        text = "".join(self._bits)
        return bytes(int(text[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(text), 8))


class BitReader:
    """Reads what a BitWriter wrote."""

    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def take(self, bits: int) -> int:
        """The next ``bits`` bits as a number."""
        if self._at + bits > len(self._text):
            raise FormatError("coded stream is truncated")
        self._at += bits
        return int(self._text[self._at - bits : self._at] or "0", 2)

    def finish(self) -> None:
        """What is left must be less than a byte, and zero."""
        left = self._text[self._at :]
        if len(left) >= 8 or "1" in left:
            raise FormatError("coded stream goes on after its end")


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def read_varint(data: Iterator[int]) -> int:
    """Inverse of :func:`varint`, of numbers below 2^32."""
    value = 0
    for shift in range(0, 35, 7):
        byte = next(data, None)
        if byte is None:
            raise FormatError("coded stream is truncated")
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte == 0 and shift) or value >> 32:
                break
            return value
    raise FormatError("coded stream has an impossible number")
