"""Products of signs: every row of xnor equals its plain loops to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import both, floats, rows_of

SIZES = [
    (1, 1, 1),
    (1, 5, 31),
    (2, 33, 32),
    (3, 32, 33),
    (4, 17, 100),
    (9, 31, 257),
    (12, 65, 1000),
    (25, 40, 2049),
]


def words(seed, rows, bits):
    """Rows of ``bits`` bits by chance, zeros behind them."""
    chance = np.random.default_rng(seed).integers(0, 2, (rows, bits)).astype(np.uint8)
    padded = np.pad(chance, ((0, 0), (0, -bits % 32)))
    return np.packbits(padded, axis=1, bitorder="little").view(np.int32)


@pytest.mark.parametrize("row", rows_of("xnor"))
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
@pytest.mark.parametrize("edge", ["columns", "rows", "masked"])
def test_products_of_signs(row, m, n, k, edge):
    x, b = floats(m + k, m, k), words(n, n, k)
    x[0, ::3] = 0.0
    x[-1, k // 2] = np.nan
    arguments = {"b": b, "bits": np.full(n, k, np.int32), "limit": 0.0}
    if edge == "columns":
        arguments |= {"column_scale": floats(1, n), "column_bias": floats(2, n), "residual": floats(3, m, n)}
    else:
        arguments |= {
            "row_scale": floats(1, m),
            "row_bias": floats(2, m),
            "low": -2.0,
            "high": 3.0,
            "limit": 0.25,
        }
    if edge == "masked":
        arguments["mask"] = words(n + 1, n, k)
        arguments["bits"] = np.unpackbits(arguments["mask"].view(np.uint8), axis=1).sum(1).astype(np.int32)
    got, wanted = both(row, (m, n), m=m, n=n, k=k, words=b.shape[1], x=x, **arguments)
    np.testing.assert_array_equal(got, wanted)


def test_the_reference_is_a_product_of_ones_and_minus_ones():
    x, b = floats(5, 7, 70), words(6, 9, 70)
    signs = 2.0 * np.unpackbits(b.view(np.uint8), axis=1, bitorder="little")[:, :70] - 1
    wanted = np.where(x >= 0, 1.0, -1.0) @ signs.T
    fixed = {"bits": np.full(9, 70, np.int32), "column_scale": np.ones(9, np.float32)}
    got, _ = both("xnor/portable", (7, 9), m=7, n=9, k=70, words=3, x=x, b=b, **fixed)
    np.testing.assert_array_equal(got, wanted)
