"""Every native coder gives the bytes of its plain Python reference, and both refuse what no encoder writes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gossamer import _native
from gossamer.artifact import reference
from gossamer.errors import FormatError

INDEPENDENT = ("packed", "huffman", "rans")


def u8(data):
    return np.frombuffer(data, dtype=np.uint8)


def encode(coder, symbols, alphabet):
    return getattr(_native, f"{coder}_encode")(np.array(symbols, np.uint16), alphabet)


def decode(coder, data, alphabet, count):
    out = np.empty(count, np.uint16)
    getattr(_native, f"{coder}_decode")(u8(data), alphabet, out)
    return out.tolist()


@st.composite
def symbols(draw):
    alphabet = draw(st.one_of(st.integers(1, 40), st.sampled_from([255, 256, 257, 1000, 4096, 65536])))
    frequent = st.integers(0, min(alphabet, 3) - 1)
    items = st.one_of(frequent, frequent, st.integers(0, alphabet - 1))
    return draw(st.lists(items, max_size=120)), alphabet


@pytest.mark.parametrize("coder", INDEPENDENT)
@settings(max_examples=60, deadline=None)
@given(case=symbols())
@example(case=([], 1))
@example(case=([0] * 9, 1))
@example(case=([7] * 40, 8))
@example(case=(list(range(256)), 256))
def test_symbols(coder, case):
    items, alphabet = case
    data = encode(coder, items, alphabet)
    assert data == getattr(reference, f"{coder}_encode")(items, alphabet)
    assert decode(coder, data, alphabet, len(items)) == items
    assert getattr(reference, f"{coder}_decode")(data, alphabet, len(items)) == items


def fibonacci(count):
    a, b = 1, 1
    for symbol in range(count):
        yield from [symbol] * a
        a, b = b, a + b


def test_huffman_codes_are_never_longer_than_20_bits():
    items = list(fibonacci(26))  # an unlimited tree would be 25 deep
    data = encode("huffman", items, 26)
    assert data == reference.huffman_encode(items, 26)
    assert decode("huffman", data, 26, len(items)) == items


def test_rans_with_every_symbol_of_the_largest_alphabet():
    items = np.random.default_rng(0).permutation(65536).tolist() + [5] * 40000
    data = encode("rans", items, 65536)
    assert decode("rans", data, 65536, len(items)) == items


def test_rans_is_near_the_entropy():
    rng = np.random.default_rng(1)
    items = np.minimum(rng.geometric(0.2, 50_000) - 1, 255)
    counts = np.bincount(items)
    share = counts[counts > 0] / len(items)
    entropy = -(share * np.log2(share)).sum() * len(items) / 8
    assert len(encode("rans", items, 256)) < 1.003 * entropy + 300


@st.composite
def grids(draw):
    rows, columns = draw(st.integers(0, 7)), draw(st.integers(0, 24))
    stride = draw(st.integers(0, columns))
    kept = draw(st.sets(st.integers(0, rows * columns - 1))) if rows * columns else set()
    return sorted(kept), rows, columns, stride


@settings(max_examples=80, deadline=None)
@given(grids())
@example(([], 3, 4, 0))
@example((list(range(12)), 3, 4, 2))
@example(([11], 3, 4, 4))
def test_pattern(case):
    positions, rows, columns, stride = case
    data = _native.pattern_encode(np.array(positions, np.int64), rows, columns, stride)
    assert data == reference.pattern_encode(positions, rows, columns, stride)
    out = np.empty(len(positions), np.int64)
    _native.pattern_decode(u8(data), rows, columns, stride, out)
    assert out.tolist() == positions
    assert reference.pattern_decode(data, rows, columns, stride, len(positions)) == positions


@settings(max_examples=80, deadline=None)
@given(grids(), st.integers(1, 40), st.randoms(use_true_random=False))
def test_values(case, alphabet, random):
    positions, *size = case
    items = [random.randrange(alphabet) for _ in positions]
    at = np.array(positions, np.int64)
    data = _native.values_encode(np.array(items, np.uint16), alphabet, at, *size)
    assert data == reference.values_encode(items, alphabet, positions, *size)
    out = np.empty(len(items), np.uint16)
    _native.values_decode(u8(data), alphabet, at, *size, out)
    assert out.tolist() == items
    assert reference.values_decode(data, alphabet, positions, *size) == items


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=20))
def test_text(text, primer):
    data = _native.text_encode(u8(text), u8(primer))
    assert data == reference.text_encode(text, primer)
    out = np.empty(len(text), np.uint8)
    _native.text_decode(u8(data), u8(primer), out)
    assert out.tobytes() == text
    assert reference.text_decode(data, primer, len(text)) == text


def test_the_pattern_of_empty_columns_costs_next_to_nothing():
    rng = np.random.default_rng(2)
    mask = rng.random((200, 400)) < 0.1
    mask[:, 100:] = False
    data = _native.pattern_encode(np.flatnonzero(mask), 200, 400, 0)
    of_the_rest_alone = _native.pattern_encode(np.flatnonzero(mask[:, :100]), 200, 100, 0)
    assert len(data) < 1.15 * len(of_the_rest_alone)


def native_result(coder, data, alphabet, count):
    try:
        return decode(coder, data, alphabet, count)
    except FormatError:
        return None


def reference_result(coder, data, alphabet, count):
    try:
        return getattr(reference, f"{coder}_decode")(data, alphabet, count)
    except FormatError:
        return None


@pytest.mark.parametrize("coder", INDEPENDENT)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_both_sides_refuse_the_same_damage(coder, data):
    items, alphabet = data.draw(symbols().filter(lambda case: case[1] <= 1000))
    coded = bytearray(encode(coder, items, alphabet))
    for _ in range(data.draw(st.integers(1, 3))):
        if coded and data.draw(st.booleans()):
            coded[data.draw(st.integers(0, len(coded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        else:
            coded = coded[: data.draw(st.integers(0, len(coded)))] + data.draw(st.binary(max_size=3))
    damaged = bytes(coded)
    assert native_result(coder, damaged, alphabet, len(items)) == reference_result(
        coder, damaged, alphabet, len(items)
    )


@pytest.mark.parametrize("coder", INDEPENDENT)
@pytest.mark.parametrize("alphabet", [0, 65537])
def test_impossible_alphabets(coder, alphabet):
    with pytest.raises(FormatError, match="alphabet"):
        decode(coder, b"\0" * 8, alphabet, 2)


@pytest.mark.parametrize(
    ("rows", "columns", "stride", "message"),
    [
        (1 << 40, 1 << 40, 0, "2\\^48"),
        (1 << 63, 2, 0, "2\\^48"),
        (2, 2, 3, "stride"),
        (1, 1, 0, "more elements are kept"),
        (0, 5, 0, "more elements are kept"),
    ],
)
def test_impossible_matrices(rows, columns, stride, message):
    with pytest.raises(FormatError, match=message):
        _native.pattern_decode(u8(b"\0" * 8), rows, columns, stride, np.empty(2, np.int64))
    with pytest.raises(FormatError, match=message):
        _native.values_decode(
            u8(b"\0" * 8), 4, np.zeros(2, np.int64), rows, columns, stride, np.empty(2, np.uint16)
        )


def test_values_must_match_positions():
    with pytest.raises(FormatError, match="one value for each position"):
        _native.values_decode(u8(b""), 4, np.zeros(1, np.int64), 2, 2, 0, np.empty(2, np.uint16))
