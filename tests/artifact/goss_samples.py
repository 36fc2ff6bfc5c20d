"""Programs for the tests of the format: a small fixed one, and hypothesis strategies for any."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gossamer.artifact import Operation, Port, Program
from gossamer.artifact.layout import DTYPES
from gossamer.weights import Codebook, Dense, Quantized, Sparse, parameter_shape, sparsify


def small_program() -> Program:
    """Every representation and every kind of attribute, in a network that means nothing."""
    grid = np.arange(24, dtype=np.float32).reshape(4, 6) % 5 - 2
    ints = (np.arange(8) % 4 - 2).astype(np.int8).reshape(2, 4)
    weights = {
        "dense": Dense(np.array([0.5, -1.25, 3.0], np.float32)),
        "shared": Codebook.of(np.arange(6).reshape(2, 3) % 3, np.array([0.25, -0.5, 1.0])),
        "sparse": Sparse.from_dense(grid),
        "both": sparsify(Codebook.of((grid + 2).astype(np.int64), np.array([-1.0, -0.5, 0.0, 0.5, 1.0]))),
        "per_tensor": Quantized(ints, np.array(0.5, np.float32), np.array(1, np.int8), None, 4),
        "per_axis": Quantized(ints, np.array([0.5, 0.25], np.float32), np.array([0, -1], np.int8), 0, 2),
    }
    attributes = {
        "axis": -1,
        "alpha": 0.5,
        "mode": "constant",
        "pads": (0, 1, 2),
        "scales": (1.0, 2.5),
        "names": ("a", "ä"),
        "none": (),
        "table": np.array([[1, 2]], dtype=np.int64),
    }
    operations = (
        Operation("Gemm", ("x", "dense", ""), ("y",), attributes, "first"),
        Operation("Relu", ("y",), ("z", ""), {}, "", "com.example"),
    )
    inputs = (Port("x", "float32", ("batch", 3, None)), Port("mask", "bool", None))
    outputs = (Port("z", "float32", ()),)
    return Program(inputs, outputs, operations, weights, {"": 20, "com.example": 1}, {"labels": "null,eins"})


def blocks_program() -> Program:
    """Weights of 2, 3 and 4 bits whose scales belong to blocks; not in small_program, whose bytes are golden."""
    ints = (np.arange(30) * 7 % 16).astype(np.uint8).reshape(3, 10)
    scale = np.linspace(0.25, 2, 9, dtype=np.float32).reshape(3, 3)
    weights = {
        "asymmetric": Quantized(ints, scale, (np.arange(9) % 16).astype(np.uint8).reshape(3, 3), 1, 4, 4),
        "three_bits": Quantized((ints % 8).astype(np.int8) - np.int8(4), scale[:2, :1].repeat(10, 1),
                                np.zeros((2, 10), np.int8), 0, 3, 2),
        "two_bits": Quantized(ints[0] % 4, scale[0, :2], np.array([2, 1], np.uint8), 0, 2, 5),
    }  # fmt: skip
    return Program((), (), (), weights, {"": 21}, {})


def in_blocks(shape: tuple[int, ...], rows: int, depth: int, seed: int = 0) -> np.ndarray:
    """Flags of the elements that stay where a third of the blocks does: bool of ``shape``."""
    outputs, inputs = -(-shape[0] // rows), -(-shape[1] // depth)
    blocks = np.random.default_rng(seed).random((outputs, inputs, *shape[2:])) < 1 / 3
    blocks[0, 0] = True
    return blocks.repeat(rows, 0).repeat(depth, 1)[: shape[0], : shape[1]]


def sparse_blocks_program() -> Program:
    """What is zero but for blocks, quantized and not; some blocks are cut off by the edge."""
    kept = in_blocks((10, 14, 3), 4, 4)
    ints = np.where(kept, np.arange(420).reshape(kept.shape) * 7 % 15 - 7, 0)
    scale = np.linspace(0.25, 2, 10, dtype=np.float32)
    bytes_ = np.where(in_blocks((8, 8), 2, 4), np.arange(64).reshape(8, 8) + 150, 128).astype(np.uint8)
    weights = {
        "per_axis": Quantized(ints.astype(np.int8), scale, np.zeros(10, np.int8), 0, 4),
        "in_groups": Quantized(bytes_, np.ones((8, 2), np.float32), np.full((8, 2), 128, np.uint8), 1, 8, 4),
        "floats": sparsify(Dense(np.full((12, 6), 0.5, np.float32)), in_blocks((12, 6), 4, 1)),
        "shared": sparsify(
            Codebook.of(np.arange(128).reshape(16, 8) % 3, np.array([-1, 0.5, 2])), in_blocks((16, 8), 1, 4)
        ),
    }
    return Program((), (), (), weights, {"": 21}, {})


numbers = st.one_of(st.sampled_from([0.0, 1.0, -0.5, 0.25]), st.floats(-100, 100, width=32))


@st.composite
def dense(draw, sizes=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)):  # noqa: B008
    return Dense(draw(hnp.arrays(draw(st.sampled_from(DTYPES)), sizes)))


@st.composite
def shared(draw, sizes=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)):  # noqa: B008
    centroids = np.array(draw(st.lists(numbers, min_size=1, max_size=40)), np.float32)
    assignment = draw(hnp.arrays(np.int64, draw(sizes), elements=st.integers(0, len(centroids) - 1)))
    return Codebook.of(assignment, centroids)


@st.composite
def quantized(draw, per_axis=True):
    dtype = np.dtype(draw(st.sampled_from(["int8", "uint8", "int16", "int32"])))
    bits = draw(st.integers(1, 8 * dtype.itemsize))
    low = -(1 << bits - 1) if dtype.kind == "i" else 0
    elements = st.integers(low, low + (1 << bits) - 1)
    ints = draw(
        hnp.arrays(dtype, draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=5)), elements=elements)
    )
    axis = draw(st.integers(0, ints.ndim - 1)) if per_axis and ints.ndim and draw(st.booleans()) else None
    in_blocks = axis is not None and draw(st.booleans())
    block = draw(st.integers(1, max(1, ints.shape[axis]))) if in_blocks else None
    sizes = parameter_shape(ints.shape, axis, block)
    scale = draw(hnp.arrays(np.float32, sizes, elements=st.floats(0.0625, 64, width=32)))
    return Quantized(ints, scale, draw(hnp.arrays(dtype, sizes, elements=elements)), axis, bits, block)


@st.composite
def sparse(draw):
    weight = draw(st.one_of(dense(), shared(), quantized(per_axis=False)))
    sizes = {Dense: "values", Codebook: "indices", Quantized: "ints"}
    full = getattr(weight, sizes[type(weight)]).shape
    return sparsify(weight, draw(hnp.arrays(bool, full)))


@st.composite
def blocks(draw):
    """Mostly zero: whole blocks stay, and within them a quantized weight may be zero too."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=4, max_side=9))
    kept = in_blocks(shape, draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(0, 99)))
    if draw(st.booleans()):
        return sparsify(Dense(np.ones(shape, draw(st.sampled_from(["float32", "float64"])))), kept)
    zeros = np.array(draw(st.integers(-3, 3)), np.int8)
    ints = np.where(kept, draw(hnp.arrays(np.int8, shape, elements=st.integers(-8, 7))), zeros)
    return Quantized(ints.astype(np.int8), np.array(0.5, np.float32), zeros, None, 4)


weights = st.one_of(dense(), shared(), quantized(), sparse(), blocks())

texts = st.text(max_size=6)
integers = st.integers(-(1 << 63), (1 << 63) - 1)
floats = st.floats()
arrays = dense().map(lambda weight: weight.values)
attributes = st.one_of(
    integers,
    floats,
    texts,
    st.lists(integers, max_size=4).map(tuple),
    st.lists(floats, max_size=4).map(tuple),
    st.lists(texts, max_size=4).map(tuple),
    arrays,
)
sizes = st.one_of(st.none(), texts, st.integers(0, 1 << 40))
shapes = st.one_of(st.none(), st.lists(sizes, max_size=4).map(tuple))


@st.composite
def programs(draw):
    names = iter(draw(st.lists(st.text(min_size=1, max_size=5), min_size=12, max_size=12, unique=True)))
    ports = st.builds(Port, st.just(""), st.sampled_from(["float32", "int64"]), shapes)

    def port(name):
        drawn = draw(ports)
        return Port(name, drawn.dtype, drawn.shape)

    inputs = tuple(port(next(names)) for _ in range(draw(st.integers(0, 2))))
    stored = {next(names): draw(weights) for _ in range(draw(st.integers(0, 4)))}
    known = [item.name for item in inputs] + list(stored)
    operations = []
    for _ in range(draw(st.integers(0, 3))):
        used = draw(st.lists(st.sampled_from([*known, ""]), max_size=3))
        made = next(names)
        keys = draw(st.dictionaries(texts, attributes, max_size=3))
        operations.append(Operation(draw(texts), tuple(used), (made, ""), keys, draw(texts), draw(texts)))
        known.append(made)
    outputs = (
        tuple(port(name) for name in draw(st.lists(st.sampled_from(known), max_size=2)) if known)
        if known
        else ()
    )
    opsets = draw(st.dictionaries(texts, st.integers(1, 30), max_size=2))
    return Program(
        inputs, outputs, tuple(operations), stored, opsets, draw(st.dictionaries(texts, texts, max_size=2))
    )
