"""Planes of cells of bytes: every row gives the bytes of the plain loops, at every size and every edge."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import call, floats, rows_of

SIZES = [(1, 1), (3, 7), (4, 16), (5, 33), (9, 100), (2, 4133)]  # channels, pixels


def cells(rng, channels, pixels):
    return rng.integers(0, 256, (-(-channels // 4), pixels, 4), np.uint8)


def same(row, shape, dtype=np.uint8, where=slice(None), **arguments):
    got, wanted = np.empty(shape, dtype), np.empty(shape, dtype)
    call(row, got, **arguments)
    call(row.split("/")[0] + "/reference", wanted, **arguments)
    np.testing.assert_array_equal(got[where], wanted[where])
    return wanted


def present(channels, pixels):
    """Which bytes of planes of cells belong to channels that exist."""
    return np.broadcast_to(
        (np.arange(-(-channels // 4) * 4) < channels).reshape(-1, 1, 4), (-(-channels // 4), pixels, 4)
    )


@pytest.mark.parametrize("row", rows_of("cell_quantize"))
@pytest.mark.parametrize(("channels", "pixels"), SIZES)
@pytest.mark.parametrize(("scale", "zero"), [(0.037, 128), (0.25, 0), (1e-6, 255), (3.0, 7)])
def test_quantizing(row, channels, pixels, scale, zero):
    x = floats(1, channels, pixels) * 5
    x.flat[:4] = [np.nan, np.inf, -np.inf, 1e30][: min(4, x.size)]
    x[-1, -1] = scale * 2.5  # halves go to the even neighbour
    keep = present(channels, pixels)
    wanted = same(row, keep.shape, where=keep, channels=channels, pixels=pixels, x=x, scale=scale, zero=zero)
    plain = np.clip(np.rint(np.nan_to_num(x / np.float32(scale), nan=-1e9)) + zero, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(wanted.transpose(0, 2, 1).reshape(-1, pixels)[:channels], plain)


@pytest.mark.parametrize("row", rows_of("cell_dequantize"))
@pytest.mark.parametrize(("channels", "pixels"), SIZES)
def test_dequantizing(row, channels, pixels):
    x = cells(np.random.default_rng(2), channels, pixels)
    same(row, (channels, pixels), np.float32, channels=channels, pixels=pixels, x=x, scale=0.0371, zero=131)


@pytest.mark.parametrize("family", ["byte_add", "byte_multiply"])
@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
@pytest.mark.parametrize("count", [1, 4, 63, 64, 65, 1000, 4097])
@pytest.mark.parametrize("one_cell", [False, True])
@pytest.mark.parametrize(("zero", "low", "high"), [(0, 0, 255), (128, 0, 255), (30, 30, 211)])
def test_two_bytes(family, isa, count, one_cell, zero, low, high):
    row = f"{family}/{isa}"
    if row not in rows_of(family):
        pytest.skip(f"this machine has no {isa}")
    rng = np.random.default_rng(count)
    arguments = {
        "bytes": count, "a": rng.integers(0, 256, count, np.uint8), "one_cell": one_cell,
        "b": rng.integers(0, 256, 4 if one_cell else count, np.uint8), "a_scale": 0.7, "b_scale": 0.31, "shift": -80.5,
        "a_zero": 120.0, "b_zero": 3.0, "scale": 0.011, "zero": zero, "low": low, "high": high,
    }  # fmt: skip
    wanted = same(row, count, **arguments)
    assert count < 1000 or len(np.unique(wanted)) > 50


@pytest.mark.parametrize("row", rows_of("byte_lookup"))
@pytest.mark.parametrize("count", [1, 15, 64, 257, 5000])
def test_lookup(row, count):
    rng = np.random.default_rng(count)
    table, x = rng.permutation(256).astype(np.uint8), rng.integers(0, 256, count, np.uint8)
    np.testing.assert_array_equal(same(row, count, bytes=count, x=x, table=table), table[x])


@pytest.mark.parametrize("row", rows_of("cell_mean"))
@pytest.mark.parametrize(("channels", "pixels"), [*SIZES, (4, 70000)])
def test_means(row, channels, pixels):
    x = cells(np.random.default_rng(pixels), channels, pixels)
    arguments = {"channels": channels, "pixels": pixels, "x": x, "scale": 0.02 / pixels, "zero": 17}
    same(row, channels, np.float32, **arguments)
    keep = present(channels, 1).reshape(-1)
    same(row, keep.size, where=keep, **arguments, to_bytes=True, y_scale=0.013, y_zero=9)


# in_h, in_w, kernel_h, kernel_w, stride_h, stride_w, dilation, pad
POOLS = [
    (1, 1, 1, 1, 1, 1, 1, 0),
    (7, 5, 3, 3, 1, 1, 1, 1),
    (15, 40, 3, 3, 2, 2, 1, 1),
    (12, 37, 2, 2, 2, 2, 1, 0),
    (6, 8, 2, 2, 2, 2, 1, 0),
    (7, 130, 3, 2, 1, 2, 1, 0),
    (20, 70, 3, 5, 1, 3, 1, 2),
    (9, 66, 2, 3, 3, 1, 2, 1),
    (8, 8, 7, 7, 1, 1, 1, 3),
    (1, 131, 1, 4, 1, 2, 1, 0),
    (6, 90, 3, 3, 2, 5, 1, 1),
    (33, 4, 16, 16, 1, 1, 1, 8),
]


def pool_shape(case):
    in_h, in_w, kernel_h, kernel_w, stride_h, stride_w, dilation, pad = case
    pad_h = min(pad, kernel_h // 2)
    size = {"in_h": in_h, "in_w": in_w, "kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": stride_h,
            "stride_w": stride_w, "dilation_h": dilation, "dilation_w": dilation, "pad_top": pad_h,
            "pad_left": pad}  # fmt: skip
    size["out_h"] = (in_h + 2 * pad_h - (kernel_h - 1) * dilation - 1) // stride_h + 1
    size["out_w"] = (in_w + 2 * pad - (kernel_w - 1) * dilation - 1) // stride_w + 1
    return size


@pytest.mark.parametrize("row", rows_of("cell_max_pool"))
@pytest.mark.parametrize("case", POOLS)
def test_maxima(row, case):
    size = pool_shape(case)
    x = np.random.default_rng(3).integers(0, 256, (3, size["in_h"], size["in_w"], 4), np.uint8)
    same(row, (3, size["out_h"], size["out_w"], 4), planes=3, x=x, **size)


@pytest.mark.parametrize("row", rows_of("cell_average_pool"))
@pytest.mark.parametrize("case", POOLS)
@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize("most", [False, True])
def test_averages(row, case, count_padding, most):
    size = pool_shape(case)
    x = np.random.default_rng(4).integers(0, 256, (3, size["in_h"], size["in_w"], 4), np.uint8)
    if most:  # the largest sums
        x[:] = 255
    same(row, (3, size["out_h"], size["out_w"], 4), planes=3, x=x, **size, count_padding=count_padding, x_zero=40,
         scale=1.7, shift=-40 * 1.7, zero=12, low=12, high=240)  # fmt: skip


# channels, in_h, in_w, kernel_h, kernel_w, stride, dilation, pad
DEPTHWISE = [
    (1, 1, 1, 1, 1, 1, 1, 0),
    (4, 9, 11, 3, 3, 1, 1, 1),
    (7, 14, 14, 3, 3, 2, 1, 1),
    (5, 7, 7, 5, 5, 1, 1, 2),
    (3, 28, 33, 5, 5, 2, 1, 2),
    (8, 12, 40, 7, 7, 1, 1, 3),
    (2, 20, 20, 3, 3, 1, 2, 2),
    (6, 21, 19, 3, 3, 2, 2, 2),
    (4, 23, 25, 3, 3, 3, 1, 1),
    (4, 23, 25, 4, 2, 4, 1, 0),
    (9, 1, 50, 1, 5, 1, 1, 0),
    (4, 1, 31, 1, 9, 2, 3, 0),
    (4, 5, 5, 3, 3, 1, 1, 0),
    (4, 3, 3, 3, 3, 1, 1, 2),
]


@pytest.mark.parametrize("row", rows_of("depthwise_cells"))
@pytest.mark.parametrize("case", DEPTHWISE)
@pytest.mark.parametrize("edge", ["plain", "residual", "mid", "clamped", "extreme"])
def test_depthwise(row, case, edge):
    channels, in_h, in_w, kernel_h, kernel_w, stride, dilation, pad = case
    pads = [pad if in_h > 1 else 0, pad]
    out = [
        (n + 2 * p - (k - 1) * dilation - 1) // stride + 1
        for n, p, k in zip((in_h, in_w), pads, (kernel_h, kernel_w), strict=True)
    ]
    rng = np.random.default_rng(channels)
    y = (2, channels, *out)
    arguments = {
        "batch": 2, "groups": channels, "in_channels": channels, "out_channels": channels, "in_h": in_h, "in_w": in_w,
        "out_h": out[0], "out_w": out[1], "kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": stride,
        "stride_w": stride, "dilation_h": dilation, "dilation_w": dilation, "pad_top": pads[0], "pad_left": pads[1],
        "x": rng.integers(0, 256, (2, channels, in_h, in_w), np.uint8), "x_zero": 101, "zero": 3,
        "weights": rng.integers(-128, 128, (channels, 1, kernel_h, kernel_w), np.int8),
        "initial": rng.integers(-1000, 1000, channels, np.int32),
        "scale": (rng.random(channels) * 8e-3).astype(np.float32), "shift": 90 + floats(4, channels) * 40,
    }  # fmt: skip
    if edge in ("residual", "mid"):
        arguments |= {
            "residual": rng.integers(0, 256, y, np.uint8),
            "keep": 0.7,
            "residual_scale": 0.3,
            "residual_shift": -11.5,
        }
    if edge == "mid":
        arguments |= {"rounds_mid": True, "mid_low": 5.0, "mid_high": 90.0}
    if edge == "clamped":
        arguments |= {"low": 3.0, "high": 200.0}
    if edge == "extreme":  # vpmaddubsw would saturate
        arguments["x"][:] = 255
        arguments["weights"][:] = 127
        arguments["scale"][:] = 1 / (127 * kernel_h * kernel_w)
    wanted = same(row, y, **arguments)
    assert edge != "plain" or wanted.size < 200 or len(np.unique(wanted)) > 40
