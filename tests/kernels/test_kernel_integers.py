"""Products of bytes: every row of qgemm equals its plain loops, and those equal exact arithmetic, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from fixed_point import requantized
from kernel_calls import EXERCISED, rows_of

from gossamer import _native

SUMS, FLOATS, BYTES, FIXED_POINT = range(4)
SIZES = [(1, 1, 1), (1, 300, 196), (2, 33, 7), (3, 16, 9), (5, 8, 64), (7, 31, 65), (13, 65, 30), (29, 100, 5),
         (49, 17, 12), (14, 32, 144), (40, 1, 70), (4, 10, 0)]  # fmt: skip


def call(row, dtype, m, n, y_pixel=None, y_cell=4, elements=None, **arguments):
    y = np.full(elements or m * n, 99, dtype)
    _native.check_qgemm(
        row, m=m, n=n, y=y, y_pixel=n if y_pixel is None else y_pixel, y_cell=y_cell, **arguments
    )
    if not row.endswith("reference"):
        EXERCISED.add(row)
    return y


def operands(m, n, cells, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (m, cells, 4), dtype=np.uint8)
    w = rng.integers(-128, 128, (n, cells, 4), dtype=np.int8)
    a[rng.random(a.shape) < 0.3], w[rng.random(w.shape) < 0.3] = (
        255,
        -128,
    )  # where pairs of products exceed 16 bits
    return {
        "cells": cells, "a": a, "b": w, "pixel_offset": np.arange(m, dtype=np.int64) * 4 * cells,
        "cell_offset": np.arange(cells, dtype=np.int64) * 4,
        "bias": rng.integers(-(2**20), 2**20, n, dtype=np.int32),
    }  # fmt: skip


def exact_sums(given):
    m, n = len(given["a"]), len(given["b"])
    a, w = given["a"].reshape(m, -1).astype(np.int64), given["b"].reshape(n, -1).astype(np.int64)
    return a @ w.T + given["bias"]


@pytest.mark.parametrize("row", [*rows_of("qgemm"), "qgemm/reference"])
@pytest.mark.parametrize(("m", "n", "cells"), SIZES)
def test_sums_are_exact(row, m, n, cells):
    given = operands(m, n, cells)
    got = call(row, np.int32, m, n, output=SUMS, **given).reshape(m, n)
    np.testing.assert_array_equal(got, exact_sums(given))


@pytest.mark.parametrize("row", rows_of("qgemm"))
def test_the_largest_sums_do_not_saturate(row):
    m, n, cells = 3, 20, 16000
    given = operands(m, n, cells)
    given["a"][:], given["b"][:] = 255, -128
    given["bias"] = None
    assert (call(row, np.int32, m, n, output=SUMS, **given) == -255 * 128 * 4 * cells).all()


@pytest.mark.parametrize("row", [*rows_of("qgemm"), "qgemm/reference"])
def test_cells_are_read_where_the_tables_say(row):
    """A convolution 2x2 over planes of [channels / 4][pixels][4], without a copy of its patches."""
    rng = np.random.default_rng(1)
    planes, height, width, n = 3, 5, 6, 18
    x = rng.integers(0, 256, (planes, height, width, 4), dtype=np.uint8)
    w = rng.integers(-128, 128, (n, planes, 2, 2, 4), dtype=np.int8)
    pixels = [(i, j) for i in range(height - 1) for j in range(width - 1)]
    pixel_offset = np.array([(i * width + j) * 4 for i, j in pixels], np.int64)
    cell_offset = np.array(
        [(p * height * width + i * width + j) * 4 for p in range(planes) for i in (0, 1) for j in (0, 1)],
        np.int64,
    )
    got = call(row, np.int32, len(pixels), n, output=SUMS, cells=4 * planes, a=x, b=w, pixel_offset=pixel_offset,
               cell_offset=cell_offset)  # fmt: skip
    patches = np.stack([x[:, i : i + 2, j : j + 2] for i, j in pixels]).astype(np.int64)
    np.testing.assert_array_equal(
        got.reshape(-1, n), np.einsum("tpijc,npijc->tn", patches, w.astype(np.int64))
    )


def edges(m, n, seed=3):
    """Everything that may follow the sums, as (dtype, arguments)."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(1e-6, 3e-4, n).astype(np.float32)
    shift = rng.standard_normal(n).astype(np.float32)
    multiplier = rng.integers(0, 2**31, n).astype(np.int32)
    right_shift = rng.integers(-31, 32, n).astype(np.int32)
    right_shift[::2] = 9
    residual = rng.integers(0, 256, m * n, dtype=np.uint8)
    fixed = {"output": FIXED_POINT, "multiplier": multiplier, "right_shift": right_shift}
    unsigned = {"output": BYTES, "scale": scale, "zero": 131}
    signed = unsigned | {"zero": -3, "least": -128, "most": 127}
    return {
        "floats": (np.float32, {"output": FLOATS, "scale": scale, "shift": shift}),
        "floats, residual, clamp": (np.float32, {
            "output": FLOATS, "scale": scale, "residual": rng.standard_normal(m * n).astype(np.float32),
            "low": -0.5, "high": 1.5}),
        "u8": (np.uint8, unsigned),
        "u8, relu": (np.uint8, unsigned | {"least": 131, "most": 200, "shift": shift}),
        "u8, residual": (np.uint8, unsigned | {"residual": residual, "residual_shift": -28.5, "residual_scale": 0.37}),
        "u8, residual of rounded": (np.uint8, unsigned | {"residual": residual, "residual_scale": 0.37, "keep": 0.8,
                                                          "rounds_mid": True, "mid_low": -40.0, "mid_high": 90.0}),
        "s8": (np.int8, signed),
        "s8, residual": (np.int8, signed | {"residual": residual.view(np.int8), "residual_signed": True,
                                            "residual_shift": 13.3, "residual_scale": 1.9}),
        "overflow": (np.uint8, unsigned | {"scale": np.where(np.arange(n) % 2, np.inf, 3e38).astype(np.float32)}),
        "integers": (np.uint8, fixed | {"zero": 5}),
        "integers, s8": (np.int8, fixed | {"zero": -5, "least": -100, "most": 127}),
    }  # fmt: skip


@pytest.mark.parametrize("row", rows_of("qgemm"))
@pytest.mark.parametrize("edge", edges(1, 1))
@pytest.mark.parametrize(("m", "n", "cells"), SIZES)
def test_what_follows_the_sums_is_the_same_bit_by_bit(row, edge, m, n, cells):
    dtype, arguments = edges(m, n)[edge]
    given = operands(m, n, cells) | arguments
    np.testing.assert_array_equal(
        call(row, dtype, m, n, **given), call("qgemm/reference", dtype, m, n, **given)
    )


@pytest.mark.parametrize("row", rows_of("qgemm"))
@pytest.mark.parametrize("edge", ["u8, residual", "integers", "floats, residual, clamp"])
@pytest.mark.parametrize("n", [3, 16, 18, 70])
def test_channels_in_cells(row, edge, n):
    """y as [n / 4][pixels][4]: the same numbers as row-major; what fills the last cell is not written."""
    m, cells, groups = 11, 6, (n + 3) // 4
    dtype, arguments = edges(m, n)[edge]
    given = operands(m, n, cells) | arguments
    flat = call("qgemm/reference", dtype, m, n, **given).reshape(m, n)
    if "residual" in given:
        padded = np.zeros((m, groups * 4), given["residual"].dtype)
        padded[:, :n] = given["residual"].reshape(m, n)
        given["residual"] = np.ascontiguousarray(padded.reshape(m, groups, 4).transpose(1, 0, 2))
    y = call(row, dtype, m, n, y_pixel=4, y_cell=4 * m, elements=groups * m * 4, **given).reshape(
        groups, m, 4
    )
    y = y.transpose(1, 0, 2).reshape(m, -1)
    np.testing.assert_array_equal(y[:, :n], flat)
    assert (y[:, n:] == 99).all()


@pytest.mark.parametrize("row", [*rows_of("qgemm"), "qgemm/reference"])
def test_requantization_in_integers_is_the_python_reference(row):
    m, n, cells = 6, 37, 3
    given = operands(m, n, cells)
    rng = np.random.default_rng(8)
    given["bias"][:4] = -(2**31) + 2**20, 2**31 - 2**20, 0, 1
    given |= {
        "multiplier": rng.choice([0, 1, 2**30, 2**31 - 1, 1518500250, 1073741825], n).astype(np.int32),
        "right_shift": rng.choice([-31, -8, -1, 0, 1, 7, 9, 20, 31], n).astype(np.int32),
        "zero": 3, "least": 1, "most": 250,
    }  # fmt: skip
    got = call(row, np.uint8, m, n, output=FIXED_POINT, **given).reshape(m, n)
    sums = exact_sums(given)
    for i in range(m):
        for c in range(n):
            at = (int(sums[i, c]), int(given["multiplier"][c]), int(given["right_shift"][c]))
            assert got[i, c] == requantized(*at, 3, 1, 250), at


@pytest.mark.parametrize("row", rows_of("qgemm"))
def test_bytes_round_half_to_even(row):
    """scale 1/2 over the sums 0 .. 15: 0.5 is 0, 1.5 is 2, 2.5 is 2."""
    given = operands(16, 1, 1)
    given["a"][:], given["b"][:] = 0, 1
    given["a"][:, 0, 0], given["bias"] = np.arange(16), None
    got = call(row, np.uint8, 16, 1, output=BYTES, scale=np.array([0.5], np.float32), zero=1, **given)
    np.testing.assert_array_equal(got, np.rint(np.arange(16) / 2) + 1)
