"""Law 4: damaged and hostile files give FormatError; never a crash, a hang or an allocation beyond the bound."""

from __future__ import annotations

import contextlib
import math
import random
import tracemalloc
import zlib
from collections.abc import Callable

import golden_files
import numpy as np
import pytest

from gossamer import _native
from gossamer.artifact import Program, layout, pack, unpack
from gossamer.artifact.layout import Coder, Form, Kind, Positions, Tag
from gossamer.artifact.primer import PRIMER
from gossamer.artifact.wire import Writer
from gossamer.errors import FormatError
from gossamer.weights import Dense, Sparse

GOLDEN = {
    "smallest": golden_files.SMALLEST,
    "deep compression": golden_files.DEEP_COMPRESSION,
    "blocks": golden_files.BLOCKS,
    "sparse blocks": golden_files.SPARSE_BLOCKS,
}
LIMIT = 1 << 22

golden = pytest.mark.parametrize("name", GOLDEN)


def u8(data):
    return np.frombuffer(data, dtype=np.uint8)


def repaired(data: bytes) -> bytes:
    """The file with the length and the checksum that its bytes should have."""
    body = bytearray(data[: -layout.TRAILER.size])
    magic, version, _, text, coded = layout.HEADER.unpack_from(body)
    layout.HEADER.pack_into(body, 0, magic, version, len(data), text, coded)
    return bytes(body) + layout.TRAILER.pack(zlib.crc32(body))


def assemble(structure: bytes, streams: bytes = b"") -> bytes:
    """A file with this structure, whatever it says."""
    coded = _native.text_encode(u8(structure), u8(PRIMER))
    header = layout.HEADER.pack(layout.MAGIC, layout.VERSION, 0, len(structure), len(coded))
    return repaired(header + coded + streams + bytes(layout.TRAILER.size))


def taken_apart(data: bytes) -> tuple[bytes, bytes]:
    """Structure and streams of a file."""
    *_, text, coded = layout.HEADER.unpack_from(data)
    structure = np.empty(text, np.uint8)
    at = layout.HEADER.size + coded
    _native.text_decode(u8(data[layout.HEADER.size : at]), u8(PRIMER), structure)
    return structure.tobytes(), data[at : -layout.TRAILER.size]


def survives(data: bytes) -> None:
    """Unpack gives a Program or FormatError: anything else fails the test."""
    with contextlib.suppress(FormatError):
        assert isinstance(unpack(data, max_bytes=LIMIT), Program)


@golden
def test_every_truncation(name):
    data = GOLDEN[name]
    for length in range(len(data)):
        with pytest.raises(FormatError):
            unpack(data[:length])


@golden
def test_every_bit_flip(name):
    data = bytearray(GOLDEN[name])
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            unpack(data)
        data[bit // 8] ^= 1 << bit % 8
    assert unpack(bytes(data))


@golden
@pytest.mark.parametrize("more", [b"\0", b"\xff", bytes(4), bytes(1000), b"GOSS"])
def test_every_extension(name, more):
    data = GOLDEN[name]
    for longer in (data + more, more + data, data[:-4] + more + data[-4:]):
        with pytest.raises(FormatError):
            unpack(longer)
    with pytest.raises(FormatError, match="belong to nothing|not end where"):
        unpack(repaired(data[:-4] + more + data[-4:]))


@golden
def test_every_truncation_with_the_right_checksum(name):
    data = GOLDEN[name]
    for length in range(layout.HEADER.size, len(data) - layout.TRAILER.size):
        with pytest.raises(FormatError):
            unpack(repaired(data[:length] + bytes(layout.TRAILER.size)))


@golden
def test_bit_flips_with_the_right_checksum(name):
    data = bytearray(GOLDEN[name])
    choose = random.Random(1)
    for place in range(len(data) - layout.TRAILER.size):
        bit = 1 << choose.randrange(8)
        data[place] ^= bit
        survives(repaired(bytes(data)))
        data[place] ^= bit


@golden
def test_every_byte_of_the_structure_changed(name):
    structure, streams = taken_apart(GOLDEN[name])
    for place, value in enumerate(structure):
        for other in {0, 0x80, 0xFF, value ^ 1} - {value}:
            survives(assemble(structure[:place] + bytes([other]) + structure[place + 1 :], streams))


@golden
def test_structure_spliced_at_random(name):
    structure, streams = taken_apart(GOLDEN[name])
    choose = random.Random(2)
    for _ in range(400):
        a, b, c = sorted(choose.randrange(len(structure) + 1) for _ in range(3))
        survives(assemble(structure[:a] + structure[b:c] + structure[a:b] + structure[c:], streams))


@golden
def test_streams_replaced_by_noise(name):
    structure, streams = taken_apart(GOLDEN[name])
    choose = random.Random(3)
    for _ in range(400):
        a, b = sorted(choose.randrange(len(streams) + 1) for _ in range(2))
        survives(assemble(structure, streams[:a] + choose.randbytes(b - a) + streams[b:]))


def one_weight(write: Callable[[Writer], None]) -> bytes:
    """A file with one weight called "w"; ``write`` says what it is."""
    to = Writer()
    for count in (0, 0, 0, 0, 0, 1):  # opsets, metadata, inputs, operations, outputs, weights
        to.number(count)
    to.string("w")
    write(to)
    return assemble(bytes(to.structure), b"".join(to.streams))


def shaped(*sizes: int) -> Callable[[Writer], None]:
    return lambda to: to.sequence(sizes, to.number)


def fields(*values: int) -> Callable[[Writer], None]:
    def write(to: Writer) -> None:
        for value in values:
            to.number(value)

    return write


def huge_dense(to):
    shaped(1 << 24, 1 << 20)(to)
    fields(Kind.DENSE, 10, Form.PLAIN)(to)
    to.stream(b"1234")


def huge_rank(to):
    shaped(*[1] * 33)(to)
    fields(Kind.DENSE, 10, Form.PLAIN)(to)
    to.stream(b"1234")


def overflowing_shape(to):
    shaped(*[1 << 40] * 4, 0)(to)
    fields(Kind.DENSE, 10, Form.PLAIN)(to)
    to.stream(b"")


def overflowing_product(to):
    shaped(1 << 32, 1 << 33)(to)
    fields(Kind.SPARSE, 0, Positions.PATTERN, 0)(to)
    to.stream(b"")


def huge_sparse(to):
    shaped(1 << 20, 1 << 20)(to)
    fields(Kind.SPARSE, 1 << 30, Positions.PATTERN, 0)(to)
    to.stream(bytes(8))


def more_kept_than_elements(to):
    shaped(4)(to)
    fields(Kind.SPARSE, 5, Positions.PATTERN, 0)(to)
    to.stream(bytes(8))


def stride_above_columns(to):
    shaped(4, 4)(to)
    fields(Kind.SPARSE, 2, Positions.PATTERN, 5)(to)
    to.stream(bytes(8))


def huge_padding(to):
    shaped(1 << 20)(to)
    fields(Kind.SPARSE, 1, Positions.RELATIVE, 1, 1 << 20, Coder.PACKED)(to)
    to.stream(bytes(1 << 17))
    fields(Kind.DENSE, 10, Form.PLAIN)(to)
    to.stream(bytes(1 << 22))


def index_of_no_bits(to):
    shaped(4)(to)
    fields(Kind.SPARSE, 1, Positions.RELATIVE, 0, 1, Coder.PACKED)(to)
    to.stream(b"")


def index_beyond_the_end(to):
    shaped(4)(to)
    fields(Kind.SPARSE, 1, Positions.RELATIVE, 8, 1, Coder.PACKED)(to)
    to.stream(b"\x04")
    fields(Kind.DENSE, 10, Form.PLAIN)(to)
    to.stream(b"\0\0\x80?")


def sparse_of_sparse(to):
    shaped(4)(to)
    for _ in range(2):
        fields(Kind.SPARSE, 0, Positions.PATTERN, 0)(to)
        to.stream(b"")


def sparse_of_zero(to):
    shaped(4)(to)
    fields(Kind.SPARSE, 4, Positions.PATTERN, 0)(to)
    to.stream(b"")
    fields(Kind.DENSE, 10, Form.PLAIN)(to)
    to.stream(bytes(16))


def codebook_without_centroids(to):
    shaped(4)(to)
    fields(Kind.CODEBOOK, 0, Form.PLAIN)(to)
    to.stream(b"")


def too_many_centroids(to):
    shaped(4)(to)
    fields(Kind.CODEBOOK, 65537, Form.PLAIN)(to)
    to.stream(bytes(4 * 65537))


def codebook_of_nan(to):
    shaped(1)(to)
    fields(Kind.CODEBOOK, 1, Form.PLAIN)(to)
    to.stream(b"\0\0\xc0\x7f")
    fields(Coder.PACKED)(to)
    to.stream(b"")


def values_of_a_large_alphabet(to):
    shaped(2)(to)
    fields(Kind.CODEBOOK, 1025, Form.PLAIN)(to)
    to.stream(np.arange(1025, dtype="<f4").tobytes())
    fields(Coder.VALUES)(to)
    to.stream(bytes(8))


def sorted_doubles(to):
    shaped(2)(to)
    fields(Kind.DENSE, 11, Form.SORTED)(to)
    for _ in range(8):
        fields(Coder.PACKED)(to)
        to.stream(b"\0\0")


def bool_of_two(to):
    shaped(1)(to)
    fields(Kind.DENSE, 0, Form.PLAIN)(to)
    to.stream(b"\2")


def quantized_to_no_bits(to):
    shaped(1)(to)
    fields(Kind.QUANTIZED, 0, 0, 0, Coder.PACKED)(to)
    to.stream(b"")


def quantized_along_no_axis(to):
    shaped(1)(to)
    fields(Kind.QUANTIZED, 0, 8, 2, Coder.PACKED)(to)
    to.stream(b"\0")


def unknown_kind(to):
    shaped(1)(to)
    fields(6)(to)


def kept_in(rows: int, depth: int, blocks: int = 1, kept: int = 4, *shape: int) -> Callable[[Writer], None]:
    """Floats of which the first blocks are kept; (4, 4) unless told otherwise."""

    def write(to: Writer) -> None:
        shaped(*(shape or (4, 4)))(to)
        fields(Kind.SPARSE, kept, Positions.BLOCKS, rows, depth, blocks, 0)(to)
        to.stream(_native.pattern_encode(np.arange(1), 2, 2, 0) if blocks == 1 else b"")
        fields(Kind.DENSE, 10, Form.PLAIN)(to)
        to.stream(np.ones(4, "<f4").tobytes())

    write.__name__ = f"kept_in_{blocks}_blocks_of_{rows}_by_{depth}"
    return write


def parameters(count: int, zero_points: str) -> Callable[[Writer], None]:
    """Scales and zero points, all one."""

    def write(to: Writer) -> None:
        for kind in ("<f4", zero_points):
            fields(Form.PLAIN)(to)
            to.stream(np.ones(count, kind).tobytes())

    return write


def quantized_sparse(bits: int = 8, block: int = 0, kept: int = 4, kind: Positions = Positions.PATTERN):
    def write(to: Writer) -> None:
        shaped(4)(to)
        fields(Kind.QUANTIZED_SPARSE, 2, bits, 0, block, kept, kind, 0)(to)
        to.stream(b"")
        fields(Coder.PACKED)(to)
        to.stream(bytes(4))
        parameters(1, "<i2")(to)

    write.__name__ = f"quantized_sparse_{bits}_{block}_{kept}_{kind.name}"
    return write


def quantized_values_that_are_sparse(to):
    shaped(4)(to)
    fields(Kind.SPARSE, 4, Positions.PATTERN, 0)(to)
    to.stream(b"")
    fields(Kind.QUANTIZED_SPARSE, 0, 8, 0, 0, 4, Positions.PATTERN, 0)(to)
    to.stream(b"")


def blocks_of(size: int, place: int = 2, *shape: int) -> Callable[[Writer], None]:
    def write(to: Writer) -> None:
        shaped(*(shape or (2, 4)))(to)
        fields(Kind.QUANTIZED_IN_BLOCKS, 0, 8, place, size, Coder.PACKED)(to)
        to.stream(bytes(8))
        parameters(4, "i1")(to)

    write.__name__ = f"blocks_of_{size}_along_{place}"
    return write


def stream_beyond_the_file(to):
    shaped(1 << 18)(to)
    fields(Kind.DENSE, 10, Form.PLAIN, 1 << 20)(to)


def endless_number(to):
    to.structure += b"\xff" * 40


HOSTILE = [
    huge_dense,
    huge_rank,
    overflowing_shape,
    overflowing_product,
    huge_sparse,
    more_kept_than_elements,
    stride_above_columns,
    huge_padding,
    index_of_no_bits,
    index_beyond_the_end,
    sparse_of_sparse,
    sparse_of_zero,
    codebook_without_centroids,
    too_many_centroids,
    codebook_of_nan,
    values_of_a_large_alphabet,
    sorted_doubles,
    bool_of_two,
    quantized_to_no_bits,
    quantized_along_no_axis,
    unknown_kind,
    kept_in(0, 4),
    kept_in(5, 1),
    kept_in(1, 1),
    kept_in(1 << 40, 1 << 40),
    kept_in(2, 2, 5),
    kept_in(2, 2, 1, 3),
    kept_in(1, 2, 1, 4, 0, 4),
    kept_in(2, 1, 1, 4, 4, 0, 3),
    kept_in(2, 2, 4, 1 << 30, 1 << 20, 1 << 20),
    quantized_sparse(bits=0),
    quantized_sparse(bits=17),
    quantized_sparse(block=2),
    quantized_sparse(kept=5),
    quantized_sparse(kind=Positions.RELATIVE),
    quantized_values_that_are_sparse,
    blocks_of(0),
    blocks_of(5),
    blocks_of(1 << 40),
    blocks_of(2, 0),
    blocks_of(2, 3),
    blocks_of(1, 2, 2, 1 << 40),
    stream_beyond_the_file,
    endless_number,
]


@pytest.mark.parametrize("weight", HOSTILE, ids=lambda weight: weight.__name__)
def test_hostile_weights(weight):
    data = one_weight(weight)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            unpack(data, max_bytes=LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * LIMIT + 8 * len(data)


def test_a_good_weight_passes_the_same_way():
    def write(to):
        shaped(2)(to)
        fields(Kind.DENSE, 10, Form.PLAIN)(to)
        to.stream(b"\0\0\x80?\0\0\0\0")

    assert unpack(one_weight(write)).weights["w"].values.tolist() == [1, 0]
    assert unpack(one_weight(blocks_of(2))).weights["w"].scale.tolist() == [[1, 1], [1, 1]]
    assert unpack(one_weight(kept_in(2, 2))).weights["w"].positions.tolist() == [0, 1, 4, 5]
    assert unpack(one_weight(quantized_sparse())).weights["w"].ints.tolist() == [-128] * 4


@pytest.mark.parametrize(
    "structure",
    [
        b"\xff\xff\xff\xff\x0f",  # four thousand million opsets
        b"\x00\x00\x01\x00\xff\xff\xff\x7f",  # a name of a quarter of a gigabyte
        b"\x01\x05",  # a string that has not been seen
        b"\x00\x00\x00\x01\x00\x01A\x00\x00\x00\x00\x00\x00\x01\x00\x01k" + bytes([Tag.TENSOR + 1]),
        b"\x01\x00\x02\xc3\x28\x01",  # not UTF-8
        b"\x02\x00\x01b\x01\x00\x01a\x01\x00\x00\x00\x00\x00",  # keys out of order
        b"\x02\x00\x01a\x01\x01\x01\x00\x00\x00\x00\x00",  # a key twice
        b"",
    ],
)
def test_hostile_structures(structure):
    with pytest.raises(FormatError):
        unpack(assemble(structure))


def test_a_structure_above_its_limit():
    data = bytearray(assemble(b"\0" * 6))
    layout.HEADER.pack_into(data, 0, layout.MAGIC, layout.VERSION, len(data), layout.MAX_STRUCTURE + 1, 1)
    with pytest.raises(FormatError, match="does not fit"):
        unpack(repaired(bytes(data)))


def test_a_file_of_a_later_version_says_so():
    data = bytearray(GOLDEN["smallest"])
    data[4] = 2
    with pytest.raises(FormatError, match="version 2"):
        unpack(bytes(data))


@pytest.mark.parametrize(
    "weight",
    [
        Dense(np.zeros((1000, 1000), np.float32)),
        Sparse.from_dense(np.zeros((1000, 1000), np.float32)),
        Sparse.from_dense(np.zeros((1000, 500), np.float64)),
    ],
    ids=["dense", "sparse", "sparse of doubles"],
)
def test_what_a_small_file_decodes_to_is_bounded(weight):
    data = pack(Program((), (), (), {"w": weight}, {}))
    assert len(data) < 200
    with pytest.raises(FormatError, match="max_bytes"):
        unpack(data, max_bytes=3_999_000)
    assert (
        math.prod(unpack(data, max_bytes=1 << 26).weights["w"].__dict__.get("shape", (1000, 1000))) >= 500_000
    )
