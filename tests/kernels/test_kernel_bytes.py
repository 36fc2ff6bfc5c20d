"""QuantizeLinear and DequantizeLinear with one scale: every row equals its plain loop and NumPy, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import call, floats, rows_of

COUNTS = [1, 3, 8, 15, 16, 33, 1000]
KINDS = [(False, 0), (False, 131), (True, -128), (True, 0), (True, 77)]


def both(row, shape, dtype, **arguments):
    got, wanted = np.empty(shape, dtype), np.empty(shape, dtype)
    call(row, got, **arguments)
    call(row.split("/")[0] + "/reference", wanted, **arguments)
    np.testing.assert_array_equal(got, wanted)
    return got


@pytest.mark.parametrize("row", rows_of("byte_quantize"))
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize(("is_signed", "zero"), KINDS)
@pytest.mark.parametrize("scale", [0.037, 0.25, 1e-6, 3.0])
def test_quantizing(row, n, is_signed, zero, scale):
    x = floats(n, n) * 5
    special = np.array([np.nan, np.inf, -np.inf, 1e30, scale * 2.5, -scale * 0.5], np.float32)
    x[: min(n, 6)] = special[: min(n, 6)]
    got = both(row, n, np.uint8, n=n, x=x, scale=scale, zero=zero, is_signed=is_signed)
    least, most = (-128, 127) if is_signed else (0, 255)
    steps = np.rint(np.nan_to_num(x / np.float32(scale), nan=-1e9)) + zero
    wanted = np.clip(steps, least, most).astype(np.int8 if is_signed else np.uint8)
    np.testing.assert_array_equal(got.view(wanted.dtype), wanted)


@pytest.mark.parametrize("row", rows_of("byte_dequantize"))
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize(("is_signed", "zero"), KINDS)
def test_dequantizing(row, n, is_signed, zero):
    x = np.random.default_rng(n).integers(0, 256, n, np.uint8)
    got = both(row, n, np.float32, n=n, x=x, scale=0.0371, zero=zero, is_signed=is_signed)
    q = x.view(np.int8 if is_signed else np.uint8).astype(np.int32)
    np.testing.assert_array_equal(got, (q - zero).astype(np.float32) * np.float32(0.0371))


@pytest.mark.parametrize("row", rows_of("byte_dequantize"))
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("adds", ["bias", "residual", "bias residual"])
def test_what_is_added_to_dequantized_bytes(row, n, adds):
    x = np.random.default_rng(n).integers(0, 256, (3, n), np.uint8)
    given = {"bias": floats(1, n), "residual": floats(2, 3, n)}
    given = {name: array for name, array in given.items() if name in adds}
    got = both(row, (3, n), np.float32, rows=3, n=n, x=x, scale=0.0371, zero=120, low=-3.5, high=4.0, **given)
    np.testing.assert_allclose(got, np.clip((x - 120.0) * 0.0371 + sum(given.values()), -3.5, 4), atol=2e-6)


@pytest.mark.parametrize("row", rows_of("byte_sums"))
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("is_signed", [False, True])
def test_sums_of_bytes(row, n, is_signed):
    x = np.random.default_rng(n).integers(0, 256, (5, n + 3), np.uint8)
    arguments = {"rows": 5, "n": n, "stride": n + 3, "x": x, "is_signed": is_signed}
    got = both(row, 5, np.int32, **arguments, factor=-3, start=17)
    q = x[:, :n].view(np.int8 if is_signed else np.uint8).astype(np.int32)
    np.testing.assert_array_equal(got, 17 - 3 * q.sum(1))


@pytest.mark.parametrize("row", rows_of("sum_rows"))
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("bounds", [None, (-120.0, 135.0)])
def test_sums_of_rows(row, n, bounds):
    rng = np.random.default_rng(n)
    sums, start = (rng.integers(-(10**6), 10**6, size).astype(np.int32) for size in ((3, n), 3))
    rounding = {} if bounds is None else {"rounds": True, "low": bounds[0], "high": bounds[1]}
    arguments = {
        "rows": 3,
        "n": n,
        "sums": sums,
        "start": start,
        "product": 1.3e-4,
        "scale": 0.05,
        "y_stride": n + 2,
    }
    got = both(row, (3, n + 2), np.float32, **arguments, **rounding)[:, :n]
    t = (sums + start[:, None]).astype(np.float32) * np.float32(1.3e-4)
    wanted = np.float32(0.05) * (t if bounds is None else np.rint(np.clip(t, *bounds)))
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("row", rows_of("byte_softmax"))
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("mask", ["none", "rows", "one"])
def test_softmax_to_bytes(row, n, mask):
    """Within one step of plain loops in double precision, and seldom off at all: exponentials round differently."""
    rng = np.random.default_rng(n)
    sums, start = (rng.integers(-30000, 30000, size).astype(np.int32) for size in ((5, n), 5))
    values = np.where(rng.random((5, n)) < 0.2, -np.inf, floats(1, 5, n)).astype(np.float32)
    values[:, -1] = 0
    stride = -(-n // 4) * 4
    arguments = {
        "rows": 5, "n": n, "sums": sums, "start": start, "product": 2e-3, "scale": 0.05, "rounds": True, "low": -120.0,
        "high": 135.0, "mask": None if mask == "none" else values, "mask_row": 1 if mask == "one" else n,
        "mask_column": int(mask != "one"), "y_scale": 1 / 255, "y_zero": 3, "y_stride": stride,
    }  # fmt: skip
    if mask == "one":
        arguments["mask"] = np.abs(floats(2, 5))
    got, wanted = np.empty(5 * stride + 64, np.uint8), np.empty(5 * stride + 64, np.uint8)
    scratch = np.empty(n + 16, np.float32)
    call(row, got, **arguments, scratch=scratch)
    call("byte_softmax/reference", wanted, **arguments, scratch=scratch)
    got, wanted = (y[: 5 * stride].reshape(5, stride).astype(int) for y in (got, wanted))
    assert (got[:, n:] == 0).all() and (wanted[:, n:] == 0).all()
    assert np.abs(got - wanted).max() <= 1 and (got != wanted).mean() < 0.01
    assert n > 100 or (got[:, :n].sum(1) > 3 * n + 200).all()
