"""Where a sparse matrix keeps elements, and which centroid each of them is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from gossamer.errors import FormatError

from .prediction import AdaptiveBit, CodeBit, Mixer, Recorder, bits_of, decode_with, stretch

_ROW_STEPS = (2, 3, 4, 6, 8, 11, 14, 18, 23, 28, 34, 45, 64, 90, 128)


def _level(p: int) -> int:
    return (stretch(p) + 2048) >> 6


def _pattern(code: CodeBit, kept: int, rows: int, columns: int, stride: int) -> list[int]:
    pad = stride + 2
    column_bits = [AdaptiveBit() for _ in range(columns + 2 * pad)]
    by_row = [AdaptiveBit() for _ in range(32 * 16)]
    by_neighbours = [AdaptiveBit() for _ in range(64 * 32)]
    mixers = [Mixer(2) for _ in range(32)]
    positions: list[int] = []
    for row in range(rows):
        bits = [0] * (columns + 2 * pad)
        row_kept, row_predicted, row_level = 4, 4 << 16, 0
        for column in range(columns):
            position, left = row * columns + column, kept - len(positions)
            if left in (0, rows * columns - position):
                return positions + list(range(position, position + left))
            at = column + pad
            if column % 16 == 0:
                row_level = bisect_right(_ROW_STEPS, (row_kept << 20) // row_predicted)
            own = column_bits[at].p
            sides = sum(column_bits[at + d].p for d in (-1, 1, -stride, stride))
            nearby = bits[at - 1] | bits[at - 2] << 1
            if stride > 1:
                above = at - stride
                nearby |= bits[above - 1] << 2 | bits[above] << 3 | bits[above + 1] << 4
            around = _level(sides + 4 * own >> 3)
            contexts = by_row[_level(own) // 2 * 16 + row_level], by_neighbours[around * 32 + nearby]
            probability, update = mixers[nearby].predict(contexts)
            bits[at] = code(probability)
            update(bits[at])
            column_bits[at].update(bits[at])
            row_kept, row_predicted = row_kept + bits[at], row_predicted + probability
            positions += [position] * bits[at]
    return positions


def pattern_encode(positions: Sequence[int], rows: int, columns: int, stride: int) -> bytes:
    """Which elements of a matrix are kept, one bit each, until the rest is known."""
    kept = set(positions)
    recorder = Recorder()
    recorder.bits = (int(position in kept) for position in range(rows * columns))
    _pattern(recorder, len(positions), rows, columns, stride)
    return recorder.bytes()


def pattern_decode(data: bytes, rows: int, columns: int, stride: int, count: int) -> list[int]:
    """Inverse of :func:`pattern_encode`."""
    return decode_with(
        data, lambda code: _pattern(code, count, rows, columns, stride), 0 < count < rows * columns
    )


class _Values:
    def __init__(self, alphabet: int, columns: int, stride: int) -> None:
        self._alphabet, self._columns, self._stride = alphabet, columns, stride
        self._depth = (alphabet - 1).bit_length()
        self._contexts: dict[tuple[object, ...], AdaptiveBit] = {}
        self._mixers = [Mixer(3) for _ in range(self._depth)]
        self._classes: dict[int, int] = {}

    def _class(self, position: int, distance: int) -> int:
        column = position % self._columns - distance
        return self._classes.get(position - distance, 0) if 0 <= column < self._columns else 0

    def symbol(self, position: int, code: CodeBit) -> int:
        above = [self._class(position, self._stride + d) if self._stride > 1 else 0 for d in (-1, 0, 1)]
        near = self._class(position, 1), above[1]
        far = self._class(position, 2), above[2], above[0]
        node = 1
        for mixer in self._mixers:
            keys = (node,), (near, node), (far, node, None)
            contexts = [self._contexts.setdefault(key, AdaptiveBit()) for key in keys]
            probability, update = mixer.predict(contexts)
            bit = code(probability)
            update(bit)
            node = node << 1 | bit
        symbol = node - (1 << self._depth)
        if symbol >= self._alphabet:
            raise FormatError("coded stream has a symbol outside of its alphabet")
        self._classes[position] = 1 + symbol * 4 // self._alphabet
        return symbol

    def symbols(self, positions: Sequence[int], code: CodeBit) -> list[int]:
        return [self.symbol(position, code) for position in positions]


def values_encode(
    symbols: Sequence[int], alphabet: int, positions: Sequence[int], rows: int, columns: int, stride: int
) -> bytes:
    """The symbols of a matrix's kept elements, predicted from the quarter of the alphabet that neighbours
    lie in."""
    del rows
    model, recorder = _Values(alphabet, columns, stride), Recorder()
    for symbol, position in zip(symbols, positions, strict=True):
        recorder.bits = bits_of(symbol, (alphabet - 1).bit_length())
        model.symbol(position, recorder)
    return recorder.bytes()


def values_decode(
    data: bytes, alphabet: int, positions: Sequence[int], rows: int, columns: int, stride: int
) -> list[int]:
    """Inverse of :func:`values_encode`."""
    del rows
    model = _Values(alphabet, columns, stride)
    return decode_with(data, lambda code: model.symbols(positions, code), bool(positions) and alphabet > 1)
