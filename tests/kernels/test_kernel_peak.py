"""The loops that the machine's peak is measured with really do the products that they count."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import EXERCISED, rows_of

from gossamer import _native

FACTORS = [(3, -5), (0, 7), (127, 127), (1, -128)]


def peak(row: str, rounds: int, x: int, y: int) -> tuple[int, float]:
    macs, total = np.zeros(1, np.int64), np.zeros(1)
    getattr(_native, f"check_{row.split('/')[0]}")(row, rounds=rounds, x=x, y=y, macs=macs, total=total)
    EXERCISED.add(row)
    return int(macs[0]), float(total[0])


@pytest.mark.parametrize("row", [*rows_of("peak_floats"), *rows_of("peak_bytes")])
@pytest.mark.parametrize(("x", "y"), FACTORS)
def test_every_product_is_in_the_sum(row, x, y):
    expected, reference = peak(f"{row.split('/')[0]}/reference", 50, x, y)
    macs, total = peak(row, 50, x, y)
    assert macs % expected == 0
    assert total == macs * x * y == reference * (macs // expected)


@pytest.mark.parametrize("row", [*rows_of("peak_floats"), *rows_of("peak_bytes")])
def test_no_rounds_no_products(row):
    assert peak(row, 0, 3, 4) == (0, 0.0)
