"""The rANS state machine (Duda 2013); its description is in native/codec/rans.h."""

from __future__ import annotations

from collections.abc import Sequence

from gossamer.errors import FormatError

_LOW = 1 << 24


def encode(intervals: Sequence[tuple[int, int]], bits: int) -> bytes:
    """Code (start, frequency) of 2^bits, the last first; the final state in 5 bytes, then 16-bit words."""
    state, words = _LOW, []
    for start, frequency in reversed(intervals):
        if state >= frequency << 40 - bits:
            words.append(state & 0xFFFF)
            state >>= 16
        state = (state // frequency << bits) + start + state % frequency
    return state.to_bytes(5, "little") + b"".join(word.to_bytes(2, "little") for word in reversed(words))


class RansDecoder:
    """Takes symbols from a rANS stream, the first first."""

    def __init__(self, data: bytes) -> None:
        self._state = int.from_bytes(data[:5], "little")
        self._data, self._at = data, 5
        if len(data) < 5 or self._state < _LOW:
            raise FormatError("coded stream begins with an impossible state")

    def peek(self, bits: int) -> int:
        """Where in 2^bits the next symbol's interval is."""
        return self._state & (1 << bits) - 1

    def take(self, start: int, frequency: int, bits: int) -> None:
        """Take the symbol that owns the interval."""
        self._state = frequency * (self._state >> bits) + self.peek(bits) - start
        if self._state < _LOW:
            word = self._data[self._at : self._at + 2]
            if len(word) < 2:
                raise FormatError("coded stream is truncated")
            self._state = self._state << 16 | int.from_bytes(word, "little")
            self._at += 2

    def take_bit(self, probability: int) -> int:
        """Take a bit that is 1 with ``probability`` / 65536."""
        bit = self.peek(16) < probability
        self.take(*bit_interval(bit, probability), 16)
        return int(bit)

    def finish(self) -> None:
        """Everything must be used up, and the state where the encoder began."""
        if self._state != _LOW or self._at != len(self._data):
            raise FormatError("coded stream does not end where its symbols end")


def bit_interval(bit: int | bool, probability: int) -> tuple[int, int]:
    """The interval of a bit that is 1 with ``probability`` / 65536."""
    return (0, probability) if bit else (probability, 65536 - probability)
