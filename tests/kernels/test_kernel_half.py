"""float16 and float32: every row equals the standard's definition and NumPy's conversion, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import call, rows_of

ALL = np.arange(1 << 16, dtype=np.uint16)


def convert(family, row, x, dtype):
    got, wanted = np.empty(len(x), dtype), np.empty(len(x), dtype)
    call(f"{family}/{row.split('/')[1]}", got, n=len(x), x=x)
    call(f"{family}/reference", wanted, n=len(x), x=x)
    return got, wanted


@pytest.mark.parametrize("row", rows_of("half_to_float"))
@pytest.mark.parametrize("n", [1, 7, 8, 17, 1 << 16])
def test_every_float16(row, n):
    got, wanted = convert("half_to_float", row, ALL[-n:], np.float32)
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(got, ALL[-n:].view(np.float16).astype(np.float32))
    np.testing.assert_array_equal(np.signbit(got), ALL[-n:] >= 0x8000)


@pytest.mark.parametrize("row", rows_of("float_to_half"))
def test_floats_around_every_float16(row):
    """Each number, the middles between neighbours, and the floats next to these: ties go to even."""
    values = ALL[:0x7C00].view(np.float16).astype(np.float64)
    middles = (values[1:] + values[:-1]) / 2
    x = np.concatenate([values, middles, [65504, 65519.996, 65520, 65536, 1e30, np.inf]]).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(0)), np.nextafter(x, np.float32(np.inf))])
    x = np.concatenate([x, -x, np.float32([1e-45, -1e-45, 2.0**-25, 2.0**-25 * 1.0001])])
    got, wanted = convert("float_to_half", row, x, np.uint16)
    np.testing.assert_array_equal(got, wanted)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, x.astype(np.float16).view(np.uint16))


@pytest.mark.parametrize("row", rows_of("float_to_half"))
@pytest.mark.parametrize("n", [1, 7, 8, 15, 16, 33])
def test_nan_of_any_payload(row, n):
    bits = np.resize(np.uint32([0x7FC00000, 0x7F800001, 0xFFC01234, 0x7FFFFFFF, 0x3F800000]), n)
    got, _ = convert("float_to_half", row, bits.view(np.float32), np.uint16)
    np.testing.assert_array_equal(np.isnan(got.view(np.float16)), np.isnan(bits.view(np.float32)))
    np.testing.assert_array_equal(got >> 15, bits >> 31)
