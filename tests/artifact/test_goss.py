"""Law 4: read(write(x)) == x, the same bytes for the same program, and a description that adds up."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import stat
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from goss_samples import programs, small_program, weights
from hypothesis import HealthCheck, given, settings

from gossamer.artifact import (
    DeepCompression,
    Operation,
    Port,
    Program,
    Smallest,
    describe,
    pack,
    read,
    same,
    unpack,
    validate,
    write,
)
from gossamer.errors import FormatError, GraphError, SaveError, UnsupportedError
from gossamer.weights import Codebook, Dense, Quantized, Sparse, nonzeros, sparsify, with_codebook

CODINGS = [
    Smallest(),
    DeepCompression(),
    DeepCompression(convolution_bits=1, linear_bits=2),
    DeepCompression(convolution_bits=16, linear_bits=16, huffman=False),
]


def holding(**stored):
    return Program((), (), (), stored, {})


@pytest.mark.parametrize("coding", CODINGS, ids=repr)
def test_small_program(coding):
    program = small_program()
    data = pack(program, coding=coding)
    assert same(unpack(data), program)
    assert pack(unpack(data), coding=coding) == data


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_any_program(program):
    for coding in (Smallest(), DeepCompression(convolution_bits=2, linear_bits=1)):
        data = pack(program, coding=coding)
        assert same(unpack(data), program)
        assert pack(unpack(data), coding=coding) == data


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(weights)
def test_any_weight(weight):
    for coding in CODINGS:
        program = holding(weight=weight)
        assert same(unpack(pack(program, coding=coding)), program)


LARGE = {
    "65536 centroids": Codebook.of(np.arange(65536).reshape(256, 256), np.linspace(-1, 1, 65536)),
    "257 centroids": Codebook.of(np.arange(2570) % 257, np.linspace(-1, 1, 257)),
    "all zero": Sparse.from_dense(np.zeros((300, 400), np.float32)),
    "nothing is zero": Sparse.from_dense(np.ones((30, 40), np.float32)),
    "one far element": Sparse.from_dense(np.eye(1, 100_000, 99_999, dtype=np.float32)),
    "no elements": Dense(np.zeros((3, 0, 5), np.float16)),
    "sparse without elements": Sparse.from_dense(np.zeros((0, 4), np.float32)),
    "sparse without inputs": Sparse.from_dense(np.zeros((4, 2, 0), np.float32)),
    "a scalar": Dense(np.array(math.pi)),
    "a sparse scalar": Sparse.from_dense(np.array(2.0)),
    "signed zeros and payloads": Dense(
        np.array([0x7FC00001, 0xFFC12345, 0x80000000], np.uint32).view(np.float32)
    ),
    "subnormals": Dense(np.array([5e-324, -5e-324, 1e308])),
    "noise": Dense(np.random.default_rng(0).standard_normal((64, 33), dtype=np.float32)),
    "columns": Dense(np.asfortranarray(np.random.default_rng(0).standard_normal((5, 7)))),
    "strided": Dense(np.arange(20, dtype=np.int32)[::3]),
}


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.7])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("zeros", [0, 7])
def test_integers_that_are_mostly_zero(axis, kept, zeros):
    """The positions of those that are not, and their values, whatever axis the scales lie along."""
    rng = np.random.default_rng(0)
    shape = (48, 20, 3)
    count = 1 if axis is None else shape[axis]
    zero_point = np.full(() if axis is None else count, zeros, np.int8)
    ints = np.where(rng.random(shape) < kept, rng.integers(-128, 128, shape), zeros).astype(np.int8)
    scale = np.asarray(rng.random(zero_point.shape) + 0.1, np.float32)
    weight = Quantized(ints, scale, zero_point, axis, 8)
    data = pack(holding(weight=weight))
    assert same(unpack(data), holding(weight=weight))
    assert len(data) < 0.95 * ints.size or kept > 0.5


@pytest.mark.parametrize("coding", CODINGS, ids=repr)
@pytest.mark.parametrize("name", LARGE)
def test_extremes(name, coding):
    program = holding(weight=LARGE[name])
    assert same(unpack(pack(program, coding=coding)), program)


def pruned_and_shared(rng, shape, density, centroids):
    values = rng.standard_normal(shape).astype(np.float32)
    columns = rng.random(math.prod(shape[1:])) ** 2 * 2 * density
    keep = rng.random((shape[0], len(columns))) < columns
    table = np.linspace(-2, 2, centroids)
    places = np.abs(values[..., None] - table).argmin(-1)
    return with_codebook(sparsify(Dense(values), keep.reshape(shape)), places, table)


@pytest.mark.parametrize(("rows", "depth"), [(4, 4), (2, 4), (1, 4), (4, 1)])
def test_zeros_in_blocks_cost_a_bit_for_a_block(rows, depth):
    """8-bit values of a fifth of the elements: no more than these and the entropy of the blocks."""
    rng = np.random.default_rng(5)
    kept = (rng.random((128 // rows, 64 // depth, 3, 3)) < 0.2).repeat(rows, 0).repeat(depth, 1)
    ints = np.where(kept, rng.integers(-128, 128, kept.shape), 0).astype(np.int8)
    weight = Quantized(ints, np.ones(128, np.float32), np.zeros(128, np.int8), 0, 8)
    bits = kept.sum() * 8 + kept.size / (rows * depth) * 0.722
    assert len(pack(holding(weight=weight))) < 1.01 * bits / 8 + 400
    floats = sparsify(Dense(rng.standard_normal(kept.shape).astype(np.float32)), kept)
    elements = sparsify(Dense(floats.values.values), np.ones(len(floats.positions), bool))
    alone = len(pack(holding(weight=elements)))
    assert len(pack(holding(weight=floats))) < alone + kept.size / (rows * depth) * 0.73 / 8 + 100


def test_the_default_is_clearly_smaller_than_huffman():
    rng = np.random.default_rng(3)
    program = holding(
        fc=pruned_and_shared(rng, (100, 400), 0.08, 31), conv=pruned_and_shared(rng, (30, 10, 5, 5), 0.1, 255)
    )
    assert len(pack(program)) < 0.9 * len(pack(program, coding=DeepCompression()))
    plain = DeepCompression(huffman=False)
    assert len(pack(program, coding=DeepCompression())) < len(pack(program, coding=plain))


def test_bytes_do_not_depend_on_the_order_of_mappings():
    program = small_program()

    def turned(mapping):
        return dict(reversed(mapping.items()))

    operations = tuple(dataclasses.replace(op, attributes=turned(op.attributes)) for op in program.operations)
    other = dataclasses.replace(
        program, weights=turned(program.weights), opsets=turned(program.opsets), operations=operations
    )
    assert pack(other) == pack(program)


def test_bytes_do_not_depend_on_the_process():
    code = (
        "import sys, goss_samples, gossamer.artifact as a;"
        "sys.stdout.buffer.write(a.pack(goss_samples.small_program()))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert other.stdout == pack(small_program())


def test_importing_the_format_loads_neither_torch_nor_onnx():
    code = "import sys, gossamer.artifact; sys.exit(any(name in sys.modules for name in ('torch', 'onnx')))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize("coding", CODINGS, ids=repr)
def test_the_description_adds_up(coding, tmp_path):
    path = tmp_path / "network.goss"
    size = write(small_program(), path, coding=coding)
    description = describe(path)
    assert size == path.stat().st_size == description.bytes
    assert description.overhead_bytes + sum(weight.bytes for weight in description.weights) == size
    assert same(description.program, small_program())
    stored = small_program().weights
    assert [weight.name for weight in description.weights] == sorted(stored)
    for weight in description.weights:
        assert weight.kept == nonzeros(stored[weight.name])
        assert weight.elements == math.prod(weight.shape)
        assert (weight.index_bits is None) == (not weight.representation.startswith("Sparse"))
    assert describe(path.read_bytes()).weights == description.weights


def test_the_description_of_deep_compression_is_the_papers_table():
    weight = pruned_and_shared(np.random.default_rng(0), (50, 200), 0.1, 31)
    (row,) = describe(pack(holding(fc=weight), coding=DeepCompression(linear_bits=5))).weights
    assert (row.representation, row.coder) == ("Sparse(Codebook)", "huffman")
    assert (row.weight_bits, row.index_bits) == (5, 5)
    assert row.bytes - row.table_bytes == round((row.weight_bits_coded + row.index_bits_coded) * row.kept / 8)


INVALID = {
    "taken": (Program((Port("x", "float32", ()),), (), (), {"x": Dense(np.zeros(1))}, {}), "'x' is taken"),
    "undeclared": (Program((), (), (Operation("Relu", ("x",), ("y",)),), {}, {}), "uses 'x'"),
    "unsorted": (
        Program((), (), (Operation("A", ("b",), ("a",)), Operation("B", (), ("b",))), {}, {}),
        "uses 'b'",
    ),
    "output": (Program((), (Port("y", "float32", ()),), (), {}, {}), "uses 'y'"),
    "nameless": (Program((Port("", "float32", ()),), (), (), {}, {}), "empty name"),
    "negative size": (Program((Port("x", "float32", (-1,)),), (), (), {}, {}), "the size -1"),
    "opset": (Program((), (), (), {}, {"": 0}), "version 0"),
    "mixed attribute": (Program((), (), (Operation("A", (), (), {"k": (1, 2.0)}),), {}, {}), "attribute 'k'"),
    "truth as attribute": (Program((), (), (Operation("A", (), (), {"k": True}),), {}, {}), "attribute 'k'"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_programs_are_not_written(name):
    program, message = INVALID[name]
    for check in (validate, pack):
        with pytest.raises(GraphError, match=message):
            check(program)


def test_integers_above_64_bits_are_not_written():
    with pytest.raises(UnsupportedError, match="64 bits"):
        pack(Program((), (), (Operation("A", (), (), {"k": 1 << 63}),), {}, {}))


@pytest.mark.parametrize("shape", [(1,) * 33, (1 << 40, 1 << 10, 0)])
def test_shapes_beyond_the_format_are_not_written(shape):
    with pytest.raises(UnsupportedError, match="too large"):
        pack(holding(weight=Sparse(shape, np.zeros(0, np.int64), Dense(np.zeros(0, np.float32)))))


@pytest.mark.parametrize("bits", [0, 17])
def test_impossible_index_bits(bits):
    with pytest.raises(ValueError, match=f"{bits} bits"):
        DeepCompression(linear_bits=bits)


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "network.goss"
    path.write_bytes(b"old")
    mask = os.umask(0o027)
    try:
        write(small_program(), path)
    finally:
        os.umask(mask)
    assert same(read(path), small_program())
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_a_clear_error(tmp_path):
    with pytest.raises(SaveError, match="folder exists"):
        write(small_program(), tmp_path / "nowhere" / "network.goss")


def test_a_pipe_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(SaveError, match="not a regular file"):
        write(small_program(), path)
    assert path.is_fifo()


def test_a_full_disk_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "network.goss"
    write(small_program(), path)
    before = path.read_bytes()
    # A process that may not write files above 64 bytes gets the error of a disk without space.
    code = textwrap.dedent(
        """
        import resource, sys
        import goss_samples, gossamer.artifact, gossamer.errors
        sys.dont_write_bytecode = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
        try:
            gossamer.artifact.write(goss_samples.small_program(), sys.argv[1])
        except gossamer.errors.SaveError as error:
            sys.exit("what stood there before is whole" not in str(error))
        sys.exit(2)
        """
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_reading_names_the_file(tmp_path):
    path = tmp_path / "not.goss"
    path.write_bytes(b"PK\x03\x04 this is something else entirely")
    with pytest.raises(FormatError, match=r"not\.goss: not a \.goss file: it begins with b'PK"):
        read(path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.goss")


def test_same_sees_every_difference():
    program = small_program()
    first, second = program.operations
    others = [
        dataclasses.replace(program, inputs=program.inputs[:1]),
        dataclasses.replace(program, metadata={}),
        dataclasses.replace(program, operations=(first,)),
        dataclasses.replace(program, operations=(first, dataclasses.replace(second, op="Tanh"))),
        dataclasses.replace(
            program,
            operations=(dataclasses.replace(first, attributes=dict(first.attributes) | {"axis": 1}), second),
        ),
        dataclasses.replace(
            program, weights=dict(program.weights) | {"dense": Dense(np.zeros(3, np.float32))}
        ),
    ]
    for a, b in itertools.combinations([program, *others], 2):
        assert not same(a, b)
