"""Requantization in integers alone, as a kernel and as the end of convolutions: NumPy's reference, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import EXERCISED, rows_of
from test_kernel_cells import WINDOWS, kept, window

from gossamer import _native
from gossamer.numerics import integers

TYPES = [np.int32, np.int16, np.int8, np.uint8]  # in the order of IntegerType
EXTREMES = np.array([-(2**31), -(2**31) + 1, -(2**30), -1, 0, 1, 2**30, 2**31 - 2, 2**31 - 1], np.int32)


def run(row, check, **arguments):
    getattr(_native, f"check_{check}")(row, **arguments)
    if not row.endswith("reference"):
        EXERCISED.add(row)
    return arguments["y"]


def factors(rng, count):
    """Multipliers and shifts of every kind, the extremes among them."""
    multiplier = rng.integers(-(2**31), 2**31, count, np.int64).astype(np.int32)
    multiplier[: min(count, 9)] = rng.permutation(EXTREMES)[:count]
    return multiplier, rng.integers(-31, 32, count).astype(np.int32)


@pytest.mark.parametrize("row", [*rows_of("requantize"), "requantize/reference"])
@pytest.mark.parametrize("given", [np.int32, np.int8, np.uint8])
@pytest.mark.parametrize("wanted", TYPES)
@pytest.mark.parametrize(("lines", "n", "channels"), [(1, 1, 1), (5, 37, 5), (6, 16, 3), (9, 33, 33)])
def test_requantize(row, given, wanted, lines, n, channels):
    rng = np.random.default_rng(lines * n)
    info = np.iinfo(given)
    x = rng.integers(info.min, info.max, (lines, n), given, endpoint=True)
    if given is np.int32:
        x.flat[:9] = EXTREMES[: x.size]
    multiplier, shift = factors(rng, channels)
    by_column = channels == n
    axis = np.arange(n) if by_column else np.arange(lines) % channels
    for x_zero, zero, low, high in (
        (0, 0, None, None),
        (int(info.max), 7, 3, 90),
        (int(info.min), -5, None, 0),
    ):
        out = np.iinfo(wanted)
        zero = max(zero, out.min)
        if wanted is np.int32 and zero:
            zero *= 300_000_000  # sums with it leave 32 bits
        bounds = out.min if low is None else low, out.max if high is None else high
        y = run(
            row, "requantize", x=x, lines=lines, n=n, channels=channels, by_column=by_column, x_zero=x_zero, zero=zero,
            low=bounds[0], high=bounds[1], from_type=TYPES.index(given), to_type=TYPES.index(wanted),
            multiplier=multiplier, right_shift=shift, y=np.full((lines, n), 99, wanted),
        )  # fmt: skip
        exact = np.empty_like(y)
        for channel in range(channels):
            at = np.broadcast_to(axis if by_column else axis[:, np.newaxis], x.shape) == channel
            exact[at] = integers.requantize(
                x[at], multiplier[channel], shift[channel], zero, x_zero, dtype=wanted, bounds=bounds
            )
        np.testing.assert_array_equal(y, exact)


def layer(case, seed, density=1.0):
    shape, x, weights, y = window(case, batch=2)
    rng = np.random.default_rng(seed)
    multiplier, shift = factors(rng, y[1])
    common = rng.random(y[1]) < 0.7  # most of them such that bytes of every value come out
    multiplier[common], shift[common] = 1_700_000_000, 9
    return shape | {
        "x": rng.integers(0, 256, x, np.uint8), "x_zero": 7, "zero": 101,
        "weights": rng.integers(-128, 128, weights, np.int8) * kept(weights, density, 3),
        "initial": rng.integers(-9000, 9000, y[1], np.int32), "multiplier": multiplier, "right_shift": shift,
    }, y  # fmt: skip


@pytest.mark.parametrize("row", rows_of("cell_bytes"))
@pytest.mark.parametrize("case", WINDOWS)
def test_convolutions_end_in_fixed_point_or_in_their_sums(row, case):
    for density, group_rows in ((1.0, 4), (0.3, 2), (0.05, 1)):
        arguments, y = layer(case, len(row), density)
        for more in ({}, {"low": 90.0, "high": 200.0}):
            got, wanted = (
                run(
                    name, "cell_bytes", **arguments, **more, group_rows=group_rows, y=np.full(y, 99, np.uint8)
                )
                for name in (row, "cell_bytes/reference")
            )
            np.testing.assert_array_equal(got, wanted)
        sums, exact = (
            run(
                name,
                "cell_bytes",
                **arguments,
                sums_out=True,
                group_rows=group_rows,
                y=np.full(y, 99, np.int32),
            )
            for name in (row, "cell_bytes/reference")
        )
        np.testing.assert_array_equal(sums, exact)
        of_sums = integers.requantize(
            exact, arguments["multiplier"], arguments["right_shift"], 101, dtype=np.uint8
        )
        np.testing.assert_array_equal(
            run(row, "cell_bytes", **arguments, group_rows=group_rows, y=np.full(y, 99, np.uint8)), of_sums
        )


@pytest.mark.parametrize("row", rows_of("depthwise_cells"))
@pytest.mark.parametrize(
    "case", [(10, 10, 8, 17, 3, 2, 1, 1, 10), (5, 5, 9, 9, 5, 1, 1, 2, 5), (4, 4, 3, 40, 3, 1, 2, 2, 4)]
)
def test_depthwise_convolutions_end_in_fixed_point(row, case):
    arguments, y = layer(case, len(row))
    got, wanted = (
        run(name, "depthwise_cells", **arguments, y=np.full(y, 99, np.uint8))
        for name in (row, "depthwise_cells/reference")
    )
    np.testing.assert_array_equal(got, wanted)
