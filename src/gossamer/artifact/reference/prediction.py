"""Adaptive probabilities and their mixing; described in native/codec/mixing.h."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gossamer.errors import FormatError

from . import rans

_LOGISTIC = [round(65536 / (1 + math.exp((32 - k) / 4))) for k in range(65)]
_LIMIT = 2047


def _clamp(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def _squash_table() -> list[int]:
    table = []
    for i in range(4096):
        at, part = divmod(i, 64)
        p = (_LOGISTIC[at] * (64 - part) + _LOGISTIC[at + 1] * part + 32) // 64
        table.append(_clamp(p, 16, 65520))
    return table


_SQUASH = _squash_table()


def _stretch_table() -> list[int]:
    table, odds = [], 1
    for i in range(4096):
        while odds < 4095 and _SQUASH[odds] < i * 16 + 8:
            odds += 1
        table.append(odds - 2048)
    return table


_STRETCH = _stretch_table()


def stretch(probability: int) -> int:
    """Log-odds of a probability, in 1/256."""
    return _STRETCH[probability >> 4]


@dataclass
class AdaptiveBit:
    """The probability of a 1 in one context, in 1/65536, and how many bits were seen there."""

    p: int = 32768
    seen: int = 0

    def update(self, bit: int) -> None:
        """Learn a bit: a running mean of the first 1023 bits, then an exponential one."""
        self.p += ((65535 if bit else 0) - self.p) * (65536 // (2 * self.seen + 3)) >> 15
        self.seen = min(self.seen + 1, 1023)


class Mixer:
    """Weighted sum of log-odds; the weights follow the gradient of the coding cost."""

    def __init__(self, inputs: int) -> None:
        self._weights = [65536 // inputs] * inputs

    def predict(self, contexts: Sequence[AdaptiveBit]) -> tuple[int, Callable[[int], None]]:
        """The probability of a 1 in 1/65536, and what to call with the bit that it was."""
        inputs = [stretch(context.p) for context in contexts]
        odds = sum(x * w for x, w in zip(inputs, self._weights, strict=True)) >> 16
        probability = _SQUASH[_clamp(odds, -_LIMIT, _LIMIT) + 2048]

        def update(bit: int) -> None:
            error = (bit << 16) - probability
            for i, x in enumerate(inputs):
                step = (x * error >> 10) * 10 >> 10
                self._weights[i] = _clamp(self._weights[i] + step, -(1 << 20), 1 << 20)
            for context in contexts:
                context.update(bit)

        return probability, update


# Codes one bit with the given probability of a 1, in 1/65536, and returns it.
CodeBit = Callable[[int], int]


class Recorder:
    """Codes known bits: remembers their intervals."""

    def __init__(self) -> None:
        self.intervals: list[tuple[int, int]] = []
        self.bits: Iterator[int] = iter(())

    def __call__(self, probability: int) -> int:
        """Code the next of ``bits``."""
        bit = next(self.bits)
        self.intervals.append(rans.bit_interval(bit, probability))
        return bit

    def bytes(self) -> bytes:
        """The rANS stream; nothing where nothing was coded."""
        return rans.encode(self.intervals, 16) if self.intervals else b""


def bits_of(value: int, count: int) -> Iterator[int]:
    """Bits of a number, the highest first."""
    return (value >> place & 1 for place in range(count - 1, -1, -1))


def decode_with(data: bytes, model: Callable[[CodeBit], list[int]], anything: bool) -> list[int]:
    """Run ``model`` on a rANS stream; where it codes nothing, the stream must be empty."""
    if not anything:
        if data:
            raise FormatError("coded stream has bytes after its end")
        return model(lambda probability: 0)
    decoder = rans.RansDecoder(data)
    result = model(decoder.take_bit)
    decoder.finish()
    return result
