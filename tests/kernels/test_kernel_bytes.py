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
