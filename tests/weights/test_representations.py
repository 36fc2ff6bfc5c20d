"""What constructors refuse, and the laws of the functions on representations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gossamer.errors import UnsupportedError, WeightError
from gossamer.weights import (
    Codebook,
    Dense,
    Quantized,
    Sparse,
    decode,
    dtype,
    equal,
    nonzeros,
    parameter_shape,
    representation,
    shape,
    sparsify,
    take,
    transpose,
    with_codebook,
)


def f32(*values):
    return np.array(values, dtype=np.float32)


def u8(*values):
    return np.array(values, dtype=np.uint8)


def i8(*values):
    return np.array(values, dtype=np.int8)


def i64(*values):
    return np.array(values, dtype=np.int64)


ONE, ZERO = np.array(1, np.float32), np.array(0, np.int8)

REFUSED = {
    "dense: a list": (lambda: Dense([1.0]), WeightError, "numpy.asarray"),
    "dense: foreign byte order": (lambda: Dense(np.zeros(2, ">f4")), WeightError, "byte order"),
    "dense: complex": (lambda: Dense(np.zeros(2, np.complex64)), UnsupportedError, "complex64"),
    "dense: objects": (lambda: Dense(np.array([None])), UnsupportedError, "object"),
    "dense: text": (lambda: Dense(np.array(["a"])), UnsupportedError, "<U1"),
    "quantized: float ints": (lambda: Quantized(f32(1), ONE, ZERO, None, 8), WeightError, "ints"),
    "quantized: double scale": (
        lambda: Quantized(i8(1), np.array(1.0), ZERO, None, 8),
        WeightError,
        "scale has dtype float64",
    ),
    "quantized: 9 bits in int8": (lambda: Quantized(i8(1), ONE, ZERO, None, 9), WeightError, "bits is 9"),
    "quantized: out of bits": (lambda: Quantized(i8(8), ONE, ZERO, None, 4), WeightError, "contains 8"),
    "quantized: zero point out of bits": (
        lambda: Quantized(i8(1), ONE, np.array(9, np.int8), None, 4),
        WeightError,
        "zero_point contains 9",
    ),
    "quantized: block without axis": (
        lambda: Quantized(i8(1), ONE, ZERO, None, 8, 1),
        WeightError,
        "without an axis",
    ),
    "quantized: block of nothing": (
        lambda: Quantized(i8(1), f32(1), i8(0), 0, 8, 0),
        WeightError,
        "block is 0",
    ),
    "quantized: block beyond the axis": (
        lambda: Quantized(i8(1, 2), f32(1), i8(0), 0, 8, 3),
        WeightError,
        "blocks of 1 to 2",
    ),
    "quantized: scales of other blocks": (
        lambda: Quantized(i8(1, 2, 3), f32(1), i8(0), 0, 8, 2),
        WeightError,
        r"block=2 .* needs \(2,\)",
    ),
    "quantized: axis": (lambda: Quantized(i8(1), f32(1), i8(0), 1, 8), WeightError, "axis is 1"),
    "quantized: scale of wrong length": (
        lambda: Quantized(i8(1, 2), f32(1), i8(0, 0), 0, 8),
        WeightError,
        "needs",
    ),
    "quantized: NaN scale": (
        lambda: Quantized(i8(1), np.array(np.nan, np.float32), ZERO, None, 8),
        WeightError,
        "finite and positive",
    ),
    "quantized: zero scale": (
        lambda: Quantized(i8(1), np.array(0, np.float32), ZERO, None, 8),
        WeightError,
        "finite and positive",
    ),
    "codebook: NaN": (lambda: Codebook(u8(0), f32(np.nan)), WeightError, "finite"),
    "codebook: infinite": (lambda: Codebook(u8(0, 1), f32(0, np.inf)), WeightError, "finite"),
    "codebook: decreasing": (lambda: Codebook(u8(0, 1), f32(1, 0)), WeightError, "Codebook.of"),
    "codebook: duplicate": (lambda: Codebook(u8(0, 1), f32(1, 1)), WeightError, "Codebook.of"),
    "codebook: unused": (lambda: Codebook(u8(0, 0), f32(0, 1)), WeightError, r"centroids\[1\] is never used"),
    "codebook: index too large": (lambda: Codebook(u8(0, 2), f32(0, 1)), WeightError, "contains 2"),
    "codebook: wide indices": (
        lambda: Codebook(np.zeros(1, np.uint16), f32(0)),
        WeightError,
        "must be uint8",
    ),
    "codebook: a table of two dimensions": (
        lambda: Codebook(u8(0), np.zeros((1, 1), np.float32)),
        WeightError,
        r"\(1, 1\)",
    ),
    "codebook of NaN": (lambda: Codebook.of(u8(0), f32(np.nan)), WeightError, r"centroids\[0\] is nan"),
    "codebook of floats": (lambda: Codebook.of(f32(0), f32(1)), WeightError, "must be an integer"),
    "codebook of a wrong assignment": (lambda: Codebook.of(i64(3), f32(1)), WeightError, "contains 3"),
    "sparse: unsorted": (lambda: Sparse((3,), i64(1, 0), Dense(f32(1, 2))), WeightError, "increasing"),
    "sparse: twice": (lambda: Sparse((3,), i64(1, 1), Dense(f32(1, 2))), WeightError, "increasing"),
    "sparse: outside": (lambda: Sparse((3,), i64(3), Dense(f32(1))), WeightError, "contains 3"),
    "sparse: negative": (lambda: Sparse((3,), i64(-1), Dense(f32(1))), WeightError, "contains -1"),
    "sparse: zero kept": (lambda: Sparse((3,), i64(1), Dense(f32(0))), WeightError, "sparsify"),
    "sparse: minus zero kept": (lambda: Sparse((3,), i64(1), Dense(f32(-0.0))), WeightError, "sparsify"),
    "sparse: zero centroid": (
        lambda: Sparse((3,), i64(1), Codebook(u8(0), f32(0))),
        WeightError,
        r"values\[0\] is zero",
    ),
    "sparse: too few values": (lambda: Sparse((3,), i64(0, 1), Dense(f32(1))), WeightError, "both must be"),
    "sparse: sparse values": (
        lambda: Sparse((3,), i64(0), Sparse((1,), i64(0), Dense(f32(1)))),
        WeightError,
        "is Sparse",
    ),
    "sparse: quantized per axis": (
        lambda: Sparse((3,), i64(0), Quantized(i8(1), f32(1), i8(0), 0, 8)),
        UnsupportedError,
        "per tensor",
    ),
    "sparse: 32-bit positions": (
        lambda: Sparse((3,), np.zeros(1, np.int32), Dense(f32(1))),
        WeightError,
        "int64",
    ),
    "sparse: negative shape": (lambda: Sparse((-1,), i64(), Dense(f32())), WeightError, "not negative"),
    "sparsify: mask of another shape": (
        lambda: sparsify(Dense(f32(1, 2)), np.ones(3, bool)),
        WeightError,
        "keep_mask has shape",
    ),
    "with_codebook: assignment of another shape": (
        lambda: with_codebook(Dense(f32(1, 2)), i64(0), f32(1)),
        WeightError,
        "assignment has shape",
    ),
    "with_codebook: NaN": (
        lambda: with_codebook(Dense(f32(1)), i64(0), f32(np.nan)),
        WeightError,
        "look for NaN",
    ),
    "transpose: not a permutation": (
        lambda: transpose(Dense(np.zeros((2, 2), np.float32)), (0, 0)),
        WeightError,
        "permutation",
    ),
    "take: quantized per axis": (
        lambda: take(Quantized(i8(1, 2), f32(1, 2), i8(0, 0), 0, 8), i64(0)),
        UnsupportedError,
        "per tensor",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        make()


finite = st.floats(-8, 8, width=32)


@st.composite
def dense_arrays(draw, max_dims=4):
    sizes = draw(hnp.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=4))
    return draw(hnp.arrays(np.float32, sizes, elements=st.one_of(finite, st.just(0.0), st.just(-0.0))))


@given(dense_arrays(), st.data())
def test_sparsify_keeps_what_the_mask_keeps_and_nothing_that_is_zero(values, data):
    keep = data.draw(hnp.arrays(bool, values.shape))
    sparse = sparsify(Dense(values), keep)
    expected = np.where(keep, values, np.float32(0)) + np.float32(0)
    assert np.array_equal(decode(sparse), expected)
    assert nonzeros(sparse) == np.count_nonzero(expected) == len(sparse.positions)
    assert equal(sparse, Sparse.from_dense(values, keep))
    again = data.draw(hnp.arrays(bool, values.shape))
    assert equal(sparsify(sparse, again), Sparse.from_dense(values, keep & again))


@given(dense_arrays(), st.lists(st.one_of(finite, st.just(0.0)), min_size=1, max_size=5), st.data())
def test_with_codebook_replaces_every_kept_element_by_its_centroid(values, centroids, data):
    table = np.array(centroids, dtype=np.float32)
    assignment = data.draw(hnp.arrays(np.int64, values.shape, elements=st.integers(0, len(table) - 1)))
    dense = with_codebook(Dense(values), assignment, table)
    assert isinstance(dense, Codebook)
    assert np.array_equal(decode(dense), table[assignment])
    sparse = with_codebook(sparsify(Dense(values)), assignment, table)
    assert representation(sparse) == "Sparse(Codebook)"
    assert np.array_equal(decode(sparse), np.where(values != 0, table[assignment], np.float32(0)))
    # However the table was written down, the result is the same.
    order = data.draw(st.permutations(range(len(table))))
    shuffled = with_codebook(Dense(values), np.argsort(order)[assignment], table[list(order)])
    assert equal(dense, shuffled)


@given(dense_arrays(), st.data())
def test_a_mask_after_sharing_drops_the_centroids_that_are_left_over(values, data):
    distinct, places = np.unique(values, return_inverse=True)
    shared = with_codebook(Dense(values), places.reshape(values.shape), distinct)
    keep = data.draw(hnp.arrays(bool, values.shape))
    sparse = sparsify(shared, keep)
    assert np.array_equal(decode(sparse), np.where(keep, values, np.float32(0)))
    assert set(sparse.values.centroids) == set(values[keep]) - {0}


@st.composite
def weights(draw):
    values = draw(dense_arrays())
    distinct, places = np.unique(values, return_inverse=True)
    shared = Codebook.of(places.reshape(values.shape), distinct)
    ints = np.asarray(np.round(values)).astype(np.int8)
    one = Quantized(ints, np.array(0.5, np.float32), np.array(0, np.int8), None, 5)
    choices = [Dense(values), shared, one]
    if values.ndim:
        axis = draw(st.integers(0, values.ndim - 1))
        n = values.shape[axis]
        scale = draw(hnp.arrays(np.float32, n, elements=st.floats(0.125, 4, width=32)))
        choices.append(Quantized(ints, scale, np.ones(n, np.int8), axis, 5))
        block = draw(st.integers(1, max(1, n)))
        sizes = parameter_shape(values.shape, axis, block)
        scale = draw(hnp.arrays(np.float32, sizes, elements=st.floats(0.125, 4, width=32)))
        choices.append(
            Quantized(
                ints, scale, draw(hnp.arrays(np.int8, sizes, elements=st.integers(-9, 9))), axis, 5, block
            )
        )
    weight = draw(st.sampled_from(choices))
    per_axis = isinstance(weight, Quantized) and weight.axis is not None
    return sparsify(weight) if draw(st.booleans()) and not per_axis else weight


@given(weights(), st.data())
def test_transpose_moves_elements_and_keeps_the_representation(weight, data):
    perm = data.draw(st.permutations(range(len(shape(weight)))))
    moved = transpose(weight, perm)
    assert representation(moved) == representation(weight)
    assert dtype(moved) == dtype(weight)
    assert np.array_equal(decode(moved), decode(weight).transpose(perm))
    assert shape(moved) == decode(moved).shape
    assert equal(transpose(moved, np.argsort(perm).tolist()), weight)


@given(weights())
def test_shape_dtype_and_count_are_those_of_the_decoded_weight(weight):
    values = decode(weight)
    assert isinstance(values, np.ndarray)
    assert (shape(weight), dtype(weight)) == (values.shape, values.dtype)
    assert nonzeros(weight) == np.count_nonzero(values)


@given(st.lists(weights(), min_size=2, max_size=2))
def test_equal_tells_representations_and_bytes_apart(pair):
    for a, b in itertools.product(pair, pair):
        same_values = shape(a) == shape(b) and decode(a).tobytes() == decode(b).tobytes()
        assert not equal(a, b) or (same_values and representation(a) == representation(b))
    assert all(equal(weight, weight) for weight in pair)


def test_blocks_share_their_scale_and_zero_point():
    ints = np.arange(10, dtype=np.uint8).reshape(2, 5)
    weight = Quantized(
        ints, f32(1, 2, 3, 4, 5, 6).reshape(2, 3), np.arange(6, dtype=np.uint8).reshape(2, 3), 1, 4, 2
    )
    expected = [[0, 1, 2, 4, 6], [8, 12, 15, 20, 24]]
    assert decode(weight).tolist() == expected
    assert decode(transpose(weight, (1, 0))).T.tolist() == expected


def test_dense_holds_nan_and_infinity():
    weight = Dense(f32(math.nan, math.inf, -math.inf))
    assert equal(weight, Dense(f32(math.nan, math.inf, -math.inf)))
    assert len(sparsify(weight).positions) == 3


def test_large_codebook():
    table = np.arange(65536, dtype=np.float32)
    weight = Codebook.of(np.arange(65536), table)
    assert weight.indices.dtype == np.uint16
    with pytest.raises(WeightError, match="65537 different centroids"):
        Codebook.of(np.arange(65537), np.arange(65537, dtype=np.float32))
