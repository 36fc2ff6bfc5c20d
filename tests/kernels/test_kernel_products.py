"""Products: every row of gemm and sparse equals its plain loops within equation (4)."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import assert_within, both, floats, gamma, rows_of

SIZES = [(1, 1, 1), (1, 5, 3), (1, 300, 784), (2, 33, 7), (3, 32, 9), (4, 17, 1), (5, 8, 64), (7, 31, 257),
         (12, 32, 40), (13, 65, 300), (25, 100, 513), (17, 16, 1025), (40, 1, 70), (3, 3, 0)]  # fmt: skip


def product_inputs(m, n, k):
    a, b = floats(m * 7 + k, m, k), floats(n * 5 + k, k, n)
    return (
        a,
        b,
        np.abs(a).astype(float) @ np.abs(b) * 1.01,
    )  # more than factors gain that are rounded to bfloat16


@pytest.mark.parametrize("row", rows_of("gemm") + rows_of("bf16"))
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
@pytest.mark.parametrize("edge", ["plain", "row", "column"])
def test_gemm(row, m, n, k, edge):
    a, b, magnitude = product_inputs(m, n, k)
    extra = {
        "row": {"row_bias": floats(1, m)},
        "column": {"column_bias": floats(2, n), "low": -1.0, "high": 1.5},
    }
    arguments = extra.get(edge, {})
    if edge == "row":
        arguments["residual"] = floats(3, m, n)
    got, wanted = both(row, (m, n), m=m, n=n, k=k, a=a, a_row=k, a_k=1, b=b, **arguments)
    assert_within(got, wanted, gamma(k + 3) * (magnitude + 16))


@pytest.mark.parametrize("row", rows_of("gemm") + rows_of("bf16"))
def test_gemm_reads_the_left_matrix_transposed(row):
    a, b, magnitude = product_inputs(9, 37, 21)
    got, wanted = both(row, (9, 37), m=9, n=37, k=21, a=np.ascontiguousarray(a.T), a_row=1, a_k=9, b=b)
    assert_within(got, wanted, gamma(21) * magnitude)
    unit = 2.0**-7 + 2.0**-16 if row.startswith("bf16") else 0  # equation (19)
    assert (np.abs(got - a.astype(float) @ b) <= (unit + gamma(21)) * magnitude).all()


@pytest.mark.parametrize("row", rows_of("gemm") + rows_of("bf16"))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_gemm_keeps_nan_and_infinity(row, value):
    a, b = np.ones((14, 300), np.float32), np.ones((300, 40), np.float32)
    a[3, 299] = value
    got, wanted = both(row, (14, 40), m=14, n=40, k=300, a=a, a_row=300, a_k=1, b=b, low=0.0)
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("row", rows_of("bf16"))
def test_bf16_rounds_to_the_nearest_ties_to_even(row):
    unit = 2.0**-7
    x = np.array([1, 1 + unit / 2, 1 + unit * 0.51, 1 + unit * 1.5, -1 - unit / 2, 3.4e38, 0.0], np.float32)
    got, wanted = both(row, (7, 1), m=7, n=1, k=1, a=x, a_row=1, a_k=1, b=np.ones((1, 1), np.float32))
    exact = np.array([1, 1, 1 + unit, 1 + 2 * unit, -1, np.inf, 0], np.float32)
    np.testing.assert_array_equal(got[:, 0], exact)
    np.testing.assert_array_equal(wanted, got)


def sparse_matrix(rows, columns, density, seed):
    """Starts, indices, and how many are kept in each row; the first row is empty, the last one full."""
    kept = np.random.default_rng(seed).random((rows, columns)) < density
    kept[0] = False
    kept[-1] = True
    return np.r_[0, np.cumsum(kept.sum(1))].astype(np.uint32), np.nonzero(kept)[1], kept


@pytest.mark.parametrize("row", rows_of("sparse"))
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 8, 15, 16, 17, 35])
@pytest.mark.parametrize("kind", ["values", "codes8", "codes8 of 200", "codes16"])
@pytest.mark.parametrize(("index_bytes", "columns"), [(2, 37), (4, 131)])
def test_sparse(row, batch, kind, index_bytes, columns):
    rows = 23
    starts, indices, kept = sparse_matrix(rows, columns, 0.3, batch)
    rng, count = np.random.default_rng(5), len(indices)
    extra = {}
    if kind == "values":
        values = values_of_all = floats(6, count)
    else:
        centroids = {"codes8": 30, "codes8 of 200": 200, "codes16": 300}[kind]
        values, dtype = floats(6, centroids), np.uint16 if kind == "codes16" else np.uint8
        codes = rng.integers(0, centroids, count).astype(dtype)
        extra = {"codes": codes, "code_bytes": dtype().itemsize, "centroid_count": centroids}
        values_of_all = values[codes]
    x, bias, residual = floats(7, batch, columns), floats(8, rows), floats(9, batch, rows)
    dense = np.zeros(kept.shape)
    dense[kept] = np.abs(values_of_all)
    magnitude = np.abs(x) @ dense.T + np.abs(bias) + np.abs(residual)
    index = indices.astype(np.uint16 if index_bytes == 2 else np.uint32)
    got, wanted = both(row, (batch, rows), rows=rows, columns=columns, starts=starts, indices=index,
                       index_bytes=index_bytes, values=values, batch=batch, x=x, bias=bias, residual=residual,
                       low=-2.0, **extra)  # fmt: skip
    assert_within(got, wanted, gamma(columns + 3) * magnitude)


@pytest.mark.parametrize("row", rows_of("sparse"))
@pytest.mark.parametrize("batch", [1, 6])
def test_sparse_does_not_visit_pruned_weights(row, batch):
    x = np.ones((batch, 3), np.float32)
    x[:, 1] = np.nan
    starts, indices = np.array([0, 2], np.uint32), np.array([0, 2], np.uint16)
    got, _ = both(row, (batch, 1), rows=1, columns=3, starts=starts, indices=indices, index_bytes=2,
                  values=np.array([2, 3], np.float32), batch=batch, x=x)  # fmt: skip
    assert (got == 5).all()
