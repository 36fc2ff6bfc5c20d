"""Coders of independent symbols: packed, canonical Huffman, static rANS."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from gossamer.errors import FormatError

from . import rans
from .bits import BitReader, BitWriter, read_varint, varint


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


def _frequencies(symbols: Sequence[int], alphabet: int, bits: int) -> list[int]:
    counts = [0] * alphabet
    for symbol in symbols:
        counts[symbol] += 1
    result = [max(1, (count << bits) // len(symbols)) if count else 0 for count in counts]
    order = sorted(range(alphabet), key=lambda symbol: -result[symbol])
    left = (1 << bits) - sum(result)
    result[order[0]] += max(0, left)
    at = 0
    for _ in range(-left):
        if at == alphabet or result[order[at]] == 1:
            at = 0
        result[order[at]] -= 1
        at += 1
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
        table += varint(frequencies[at])
        at += 1
        if frequencies[at - 1] == 0:
            run = 0
            while at + run < alphabet and frequencies[at + run] == 0:
                run += 1
            table += varint(run)
            at += run
    starts = list(accumulate(frequencies, initial=0))
    return bytes(table) + rans.encode([(starts[s], frequencies[s]) for s in symbols], bits)


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
        frequency = read_varint(source)
        run = read_varint(source) if frequency == 0 else 0
        if run >= alphabet - len(frequencies):
            raise FormatError("rANS table is longer than its alphabet")
        frequencies += [frequency] * (run + 1)
    if sum(frequencies) != 1 << bits:
        raise FormatError("rANS table does not sum to its total")
    ends = list(accumulate(frequencies))
    decoder = rans.RansDecoder(bytes(source))
    symbols = []
    for _ in range(count):
        symbol = bisect_right(ends, decoder.peek(bits))
        decoder.take(ends[symbol] - frequencies[symbol], frequencies[symbol], bits)
        symbols.append(symbol)
    decoder.finish()
    return symbols
