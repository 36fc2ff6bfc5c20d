"""The coders of native/codec/ once more, in plain Python: slow, and the same bytes.

Each coder is a pair ``NAME_encode``/``NAME_decode`` with the arguments of its native twin, except that
decoders take the number of symbols and return a list. Damaged data raises FormatError.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gossamer.errors import FormatError

# --- bits and numbers
# -------------------------------------------------------------------------------------------


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


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_varint(data: Iterator[int]) -> int:
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


# --- packed
# -----------------------------------------------------------------------------------------------------


def packed_encode(symbols: Sequence[int], alphabet: int) -> bytes:
    """Each symbol in the fewest bits that hold ``alphabet - 1``."""
    out = BitWriter()
    for symbol in symbols:
        out.put(symbol, (alphabet - 1).bit_length())
    return out.bytes()


def packed_decode(data: bytes, alphabet: int, count: int) -> list[int]:
    """Inverse of :func:`packed_encode`."""
    source = BitReader(data)
    symbols = [source.take((alphabet - 1).bit_length()) for _ in range(count)]
    source.finish()
    if any(symbol >= alphabet for symbol in symbols):
        raise FormatError("packed stream has a symbol outside of its alphabet")
    return symbols


# --- canonical Huffman
# ------------------------------------------------------------------------------------------

_MAX_LENGTH = 20
_MAX_RUN = 31


def _tree_depths(counts: Sequence[int]) -> list[int]:
    """Depth of every leaf. Of two nodes with equal weight the one made first is taken first."""
    open_nodes = [(count, place) for place, count in enumerate(counts) if count]
    heapq.heapify(open_nodes)
    parents: dict[int, int] = {}
    made = len(counts)
    while len(open_nodes) > 1:
        (first, a), (second, b) = heapq.heappop(open_nodes), heapq.heappop(open_nodes)
        parents[a] = parents[b] = made
        heapq.heappush(open_nodes, (first + second, made))
        made += 1
    depths = [0] * made
    for node in range(made - 1, -1, -1):
        depths[node] = depths[parents[node]] + 1 if node in parents else 0
    if len(open_nodes) == 1 and not parents:
        depths[open_nodes[0][1]] = 1
    return depths[: len(counts)]


def _code_lengths(symbols: Sequence[int], alphabet: int) -> list[int]:
    counts = [0] * alphabet
    for symbol in symbols:
        counts[symbol] += 1
    lengths = _tree_depths(counts)
    while max(lengths) > _MAX_LENGTH:
        counts = [(count + 1) // 2 for count in counts]
        lengths = _tree_depths(counts)
    return lengths


def _canonical(lengths: Sequence[int]) -> dict[tuple[int, int], int]:
    """(length, code) of every used symbol: shorter codes first, equal lengths in the order of their
    symbols."""
    codes = {}
    code = previous = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - previous
        codes[length, code] = symbol
        code, previous = code + 1, length
    return codes


def huffman_encode(symbols: Sequence[int], alphabet: int) -> bytes:
    """Code lengths in 5 bits each (a 0 is followed by 5 bits that say how many more follow), then the
    codes."""
    if not symbols:
        return b""
    out = BitWriter()
    lengths = _code_lengths(symbols, alphabet)
    at = 0
    while at < alphabet:
        out.put(lengths[at], 5)
        at += 1
        if lengths[at - 1] == 0:
            run = 0
            while run < _MAX_RUN and at + run < alphabet and lengths[at + run] == 0:
                run += 1
            out.put(run, 5)
            at += run
    code_of = {symbol: (code, length) for (length, code), symbol in _canonical(lengths).items()}
    for symbol in symbols:
        out.put(*code_of[symbol])
    return out.bytes()


def _read_lengths(source: BitReader, alphabet: int) -> list[int]:
    lengths: list[int] = []
    while len(lengths) < alphabet:
        length = source.take(5)
        lengths += [length] * (1 if length else source.take(5) + 1)
    if len(lengths) > alphabet or max(lengths) > _MAX_LENGTH:
        raise FormatError("Huffman table is longer than its alphabet, or a code longer than 20 bits")
    space = sum(1 << _MAX_LENGTH - length for length in lengths if length)
    if space != 1 << _MAX_LENGTH and sorted(lengths)[-2:] not in ([1], [0, 1]):
        raise FormatError("Huffman table is not a complete code")
    return lengths


def huffman_decode(data: bytes, alphabet: int, count: int) -> list[int]:
    """Inverse of :func:`huffman_encode`."""
    source = BitReader(data)
    symbols = []
    codes = _canonical(_read_lengths(source, alphabet)) if count else {}
    for _ in range(count):
        length, code = 1, source.take(1)
        while (length, code) not in codes:
            if length == _MAX_LENGTH:
                raise FormatError("Huffman stream has a code that stands for nothing")
            length, code = length + 1, code << 1 | source.take(1)
        symbols.append(codes[length, code])
    source.finish()
    return symbols


# --- rANS (Duda 2013)
# -------------------------------------------------------------------------------------------

_LOW = 1 << 24


def _rans_encode(intervals: Sequence[tuple[int, int]], bits: int) -> bytes:
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
        self.take(*_bit_interval(bit, probability), 16)
        return int(bit)

    def finish(self) -> None:
        """Everything must be used up, and the state where the encoder began."""
        if self._state != _LOW or self._at != len(self._data):
            raise FormatError("coded stream does not end where its symbols end")


def _bit_interval(bit: int | bool, probability: int) -> tuple[int, int]:
    return (0, probability) if bit else (probability, 65536 - probability)


def _frequencies(symbols: Sequence[int], alphabet: int, bits: int) -> list[int]:
    counts = [0] * alphabet
    for symbol in symbols:
        counts[symbol] += 1
    result = [max(1, (count << bits) // len(symbols)) if count else 0 for count in counts]
    order = sorted(range(alphabet), key=lambda symbol: -result[symbol])
    left = (1 << bits) - sum(result)
    result[order[0]] += max(0, left)
    at = 0
    while left < 0:
        if result[order[at]] > 1:
            result[order[at]] -= 1
            left += 1
        at = (at + 1) % alphabet
    return result


def rans_encode(symbols: Sequence[int], alphabet: int) -> bytes:
    """The precision, a table of frequencies, and the rANS stream."""
    if not symbols:
        return b""
    bits = min(max(len(set(symbols)).bit_length() + 3, 12), 16)
    frequencies = _frequencies(symbols, alphabet, bits)
    table = bytearray([bits])
    at = 0
    while at < alphabet:
        table += _varint(frequencies[at])
        at += 1
        if frequencies[at - 1] == 0:
            run = 0
            while at + run < alphabet and frequencies[at + run] == 0:
                run += 1
            table += _varint(run)
            at += run
    starts = [sum(frequencies[:symbol]) for symbol in range(alphabet)]
    return bytes(table) + _rans_encode([(starts[s], frequencies[s]) for s in symbols], bits)


def rans_decode(data: bytes, alphabet: int, count: int) -> list[int]:
    """Inverse of :func:`rans_encode`."""
    if not count:
        if data:
            raise FormatError("coded stream has bytes after its end")
        return []
    source = iter(data)
    bits = next(source, 0)
    if not 8 <= bits <= 16:
        raise FormatError("rANS table has an impossible precision")
    frequencies: list[int] = []
    while len(frequencies) < alphabet:
        frequency = _read_varint(source)
        run = _read_varint(source) if frequency == 0 else 0
        if run >= alphabet - len(frequencies):
            raise FormatError("rANS table is longer than its alphabet")
        frequencies += [frequency] * (run + 1)
    if sum(frequencies) != 1 << bits:
        raise FormatError("rANS table does not sum to its total")
    ends = [sum(frequencies[: symbol + 1]) for symbol in range(alphabet)]
    decoder = RansDecoder(bytes(source))
    symbols = []
    for _ in range(count):
        symbol = bisect_right(ends, decoder.peek(bits))
        decoder.take(ends[symbol] - frequencies[symbol], frequencies[symbol], bits)
        symbols.append(symbol)
    decoder.finish()
    return symbols


# --- prediction
# -------------------------------------------------------------------------------------------------

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
        inputs = [_STRETCH[context.p >> 4] for context in contexts]
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


class _Recorder:
    """Codes known bits: remembers their intervals."""

    def __init__(self) -> None:
        self.intervals: list[tuple[int, int]] = []
        self.bits: Iterator[int] = iter(())

    def __call__(self, probability: int) -> int:
        bit = next(self.bits)
        self.intervals.append(_bit_interval(bit, probability))
        return bit

    def bytes(self) -> bytes:
        return _rans_encode(self.intervals, 16) if self.intervals else b""


def _bits_of(value: int, count: int) -> Iterator[int]:
    return (value >> place & 1 for place in range(count - 1, -1, -1))


def _decode_with(data: bytes, model: Callable[[CodeBit], list[int]], anything: bool) -> list[int]:
    """Run ``model`` on a rANS stream; where it codes nothing, the stream must be empty."""
    if not anything:
        if data:
            raise FormatError("coded stream has bytes after its end")
        return model(lambda probability: 0)
    decoder = RansDecoder(data)
    result = model(decoder.take_bit)
    decoder.finish()
    return result


# --- pattern
# ----------------------------------------------------------------------------------------------------

_ROW_STEPS = (2, 3, 4, 6, 8, 11, 14, 18, 23, 28, 34, 45, 64, 90, 128)


def _level(p: int) -> int:
    return (_STRETCH[p >> 4] + 2048) >> 6


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
    recorder = _Recorder()
    recorder.bits = (int(position in kept) for position in range(rows * columns))
    _pattern(recorder, len(positions), rows, columns, stride)
    return recorder.bytes()


def pattern_decode(data: bytes, rows: int, columns: int, stride: int, count: int) -> list[int]:
    """Inverse of :func:`pattern_encode`."""
    return _decode_with(
        data, lambda code: _pattern(code, count, rows, columns, stride), 0 < count < rows * columns
    )


# --- values
# -----------------------------------------------------------------------------------------------------


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
    model, recorder = _Values(alphabet, columns, stride), _Recorder()
    for symbol, position in zip(symbols, positions, strict=True):
        recorder.bits = _bits_of(symbol, (alphabet - 1).bit_length())
        model.symbol(position, recorder)
    return recorder.bytes()


def values_decode(
    data: bytes, alphabet: int, positions: Sequence[int], rows: int, columns: int, stride: int
) -> list[int]:
    """Inverse of :func:`values_encode`."""
    del rows
    model = _Values(alphabet, columns, stride)
    return _decode_with(data, lambda code: model.symbols(positions, code), bool(positions) and alphabet > 1)


# --- text
# -------------------------------------------------------------------------------------------------------

_WORD = (1 << 32) - 1


class _Text:
    def __init__(self, primer: bytes) -> None:
        self._tables: list[dict[int, AdaptiveBit]] = [{} for _ in range(5)]
        self._mixer = Mixer(5)
        self._history = 0
        learned = _Recorder()
        for byte in primer:
            learned.bits = _bits_of(byte, 8)
            self.byte(learned)

    def byte(self, code: CodeBit) -> int:
        """One byte, predicted from the 0 to 4 bytes before it."""
        bases = [0] + [((self._history << 32 - 8 * n & _WORD) * 2654435761 + n) & _WORD for n in range(1, 5)]
        node = 1
        for _ in range(8):
            contexts = [
                table.setdefault(self._slot(base, node), AdaptiveBit())
                for table, base in zip(self._tables, bases, strict=True)
            ]
            probability, update = self._mixer.predict(contexts)
            bit = code(probability)
            update(bit)
            node = node << 1 | bit
        self._history = (self._history << 8 | node & 0xFF) & _WORD
        return node & 0xFF

    @staticmethod
    def _slot(base: int, node: int) -> int:
        mixed = (base + node) * 2246822519 & _WORD ^ base >> 15
        return (mixed * 2654435761 & _WORD) >> 16


def text_encode(text: bytes, primer: bytes) -> bytes:
    """Bytes, predicted by a model that has read ``primer`` before."""
    if not text:
        return b""
    model, recorder = _Text(primer), _Recorder()
    for byte in text:
        recorder.bits = _bits_of(byte, 8)
        model.byte(recorder)
    return recorder.bytes()


def text_decode(data: bytes, primer: bytes, count: int) -> bytes:
    """Inverse of :func:`text_encode`."""
    model = _Text(primer)
    return bytes(_decode_with(data, lambda code: [model.byte(code) for _ in range(count)], count > 0))
