"""Codes: every row decodes what the formula says, to the last bit, wherever a block begins."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import both, floats, rows_of

SHAPES = [(1, 1), (7, 3), (64, 33), (50, 100), (129, 16)]


def codes(k, n, below, seed):
    return np.random.default_rng(seed).integers(0, below, (k, n)).astype(np.uint16)


@pytest.mark.parametrize("row", rows_of("codes"))
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 8])
@pytest.mark.parametrize(("k", "n"), SHAPES)
@pytest.mark.parametrize("block", [1, 16, 1000])
def test_numbers(row, bits, k, n, block):
    blocks = -(-k // block)
    zeros = np.random.default_rng(bits).integers(0, 1 << bits, (blocks, n)).astype(np.uint8)
    for first in {0, k // 3, k - 1}:
        got, wanted = both(row, (k - first, n), k=k, n=n, bits=bits, codes=codes(k, n, 1 << bits, k), block=block,
                           scales=floats(n, blocks, n), zeros=zeros, first=first)  # fmt: skip
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("row", rows_of("codes"))
@pytest.mark.parametrize("count", [1, 2, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 200, 256, 257, 3000])
@pytest.mark.parametrize(("k", "n"), SHAPES[2:])
def test_tables(row, count, k, n):
    bits = max(1, (count - 1).bit_length())
    table = np.sort(floats(count, count))
    got, wanted = both(row, (k, n), k=k, n=n, bits=bits, codes=codes(k, n, count, n), table=table, table_size=count,
                       block=40, scales=floats(n, -(-k // 40), n))  # fmt: skip
    np.testing.assert_array_equal(got, wanted)
    assert len(np.unique(codes(k, n, count, n))) > count // 3
