"""Convolution over cells: bytes to the last bit, floats within equation (4), dense and with any pattern of zeros."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import assert_within, both, call, floats, gamma, rows_of

# in_channels, out_channels, in_h, in_w, kernel, stride, dilation, pad, groups
WINDOWS = [
    (1, 1, 1, 1, 1, 1, 1, 0, 1),
    (5, 7, 9, 11, 1, 1, 1, 0, 1),
    (16, 32, 7, 7, 1, 1, 1, 0, 1),
    (16, 12, 14, 14, 3, 1, 1, 1, 1),
    (8, 10, 15, 13, 3, 2, 1, 1, 1),
    (8, 8, 14, 14, 1, 2, 1, 0, 1),
    (3, 6, 23, 19, 7, 2, 1, 3, 1),
    (4, 9, 20, 33, 3, 1, 2, 2, 1),
    (6, 4, 12, 12, 5, 3, 1, 2, 1),
    (8, 12, 9, 9, 3, 1, 1, 1, 4),
    (10, 10, 8, 17, 3, 2, 1, 1, 10),
    (4, 4, 3, 3, 1, 1, 1, 2, 1),
    (1, 20, 28, 28, 5, 1, 1, 0, 1),
]


def window(case, batch=1):
    channels, rows, h, w, kernel, stride, dilation, pad, groups = case
    size = [(n + 2 * pad - (kernel - 1) * dilation - 1) // stride + 1 for n in (h, w)]
    shape = {
        "batch": batch, "groups": groups, "in_channels": channels, "in_h": h, "in_w": w, "out_channels": rows,
        "out_h": size[0], "out_w": size[1], "kernel_h": kernel, "kernel_w": kernel, "stride_h": stride,
        "stride_w": stride, "dilation_h": dilation, "dilation_w": dilation, "pad_top": pad, "pad_left": pad,
    }  # fmt: skip
    x, weights = (batch, channels, h, w), (rows, channels // groups, kernel, kernel)
    return shape, x, weights, (batch, rows, *size)


def kept(shape, density, seed):
    """A mask of blocks: 4 channels of a tap, shared by 2 rows; plain elements where the density is below a tenth."""
    rng = np.random.default_rng(seed)
    if density < 0.1:
        return rng.random(shape) < density
    rows, channels = -(-shape[0] // 2), -(-shape[1] // 4)
    blocks = rng.random((rows, channels, *shape[2:])) < density
    return blocks.repeat(2, axis=0)[: shape[0]].repeat(4, axis=1)[:, : shape[1]]


@pytest.mark.parametrize("row", rows_of("cell_bytes"))
@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize(("density", "group_rows"), [(1.0, 4), (0.3, 2), (0.3, 0), (0.05, 1), (0.0, 0)])
@pytest.mark.parametrize("edge", ["plain", "residual", "mid", "clamped"])
def test_bytes_are_exact(row, case, density, group_rows, edge):
    shape, x, weights, y = window(case, batch=2)
    rng = np.random.default_rng(len(row))
    arguments = {
        **shape, "x": rng.integers(0, 256, x, np.uint8), "x_zero": 7, "group_rows": group_rows, "zero": 3,
        "weights": rng.integers(-128, 128, weights, np.int8) * kept(weights, density, 3),
        "initial": rng.integers(-1000, 1000, y[1], np.int32),
        "scale": (rng.random(y[1]) * 2e-3).astype(np.float32), "shift": 90 + floats(4, y[1]) * 40,
    }  # fmt: skip
    if edge in ("residual", "mid"):
        residual = rng.integers(0, 256, y, np.uint8)
        arguments |= {"residual": residual, "keep": 0.7, "residual_scale": 0.3, "residual_shift": -11.5}
    if edge == "mid":
        arguments |= {"rounds_mid": True, "mid_low": 5.0, "mid_high": 90.0}
    if edge == "clamped":
        arguments |= {"low": 3.0, "high": 200.0}
    got, wanted = np.empty(y, np.uint8), np.empty(y, np.uint8)
    call(row, got, **arguments)
    call("cell_bytes/reference", wanted, **arguments)
    np.testing.assert_array_equal(got, wanted)
    if edge == "plain" and density == 1:
        assert len(np.unique(wanted)) > min(20, wanted.size // 4), "the case distinguishes nothing"


@pytest.mark.parametrize("row", rows_of("cell_bytes"))
@pytest.mark.parametrize("case", WINDOWS)
def test_bytes_to_floats(row, case):
    shape, x, weights, y = window(case)
    rng = np.random.default_rng(5)
    arguments = {
        **shape, "x": rng.integers(0, 256, x, np.uint8), "weights": rng.integers(-128, 128, weights, np.int8),
        "initial": rng.integers(-1000, 1000, y[1], np.int32), "scale": floats(3, y[1]), "shift": floats(4, y[1]),
        "residual": floats(6, *y), "float_out": True, "low": -1000.0, "high": 2000.0,
    }  # fmt: skip
    got, wanted = both(row, y, **arguments)
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("row", rows_of("cell_bytes"))
def test_no_pair_of_products_saturates(row):
    """vpmaddubsw would: 255 * 127 twice exceeds 16 bits."""
    shape, x, weights, y = window((64, 8, 6, 6, 3, 1, 1, 1, 1))
    arguments = {
        **shape, "x": np.full(x, 255, np.uint8), "weights": np.full(weights, 127, np.int8), "float_out": True,
        "initial": np.zeros(8, np.int32), "scale": np.ones(8, np.float32), "shift": np.zeros(8, np.float32),
        "low": -1e9, "high": 1e9,
    }  # fmt: skip
    got, wanted = both(row, y, **arguments)
    np.testing.assert_array_equal(got, wanted)
    assert got.max() == 64 * 9 * 255 * 127


@pytest.mark.parametrize("row", rows_of("cell_floats"))
@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize("density", [1.0, 0.3, 0.05])
def test_floats(row, case, density):
    shape, x, weights, y = window(case, batch=2)
    w = floats(2, *weights) * kept(weights, density, 3)
    arguments = {
        **shape, "x": floats(1, *x), "weights": w, "bias": floats(3, y[1]), "residual": floats(4, *y), "low": -2.0,
        "high": 9.0,
    }  # fmt: skip
    got, wanted = both(row, y, **arguments)
    depth = int(np.prod(weights[1:]))
    assert_within(got, wanted, gamma(depth + 3) * (np.abs(w).sum(axis=(1, 2, 3)).max() * 5 + 16))


@pytest.mark.parametrize("row", rows_of("transpose"))
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (16, 16), (17, 5), (3, 40), (33, 65), (128, 96)])
def test_transpose(row, rows, columns):
    x = floats(rows, rows, columns + 3)
    got, wanted = both(
        row, (columns, rows), x=x, rows=rows, columns=columns, x_stride=columns + 3, y_stride=rows, end=rows
    )
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(got, x[:, :columns].T)
