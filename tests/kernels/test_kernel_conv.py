"""Convolution: every row of every method equals plain loops within the method's equation of docs/numerics.md."""

from __future__ import annotations

import numpy as np
import pytest
from fft_oracle import fft_bound
from kernel_calls import assert_within, both, call, floats, gamma, rows_of
from winograd_oracle import MATRICES, ROUNDINGS, winograd

# batch, groups, channels in and out of a group, height, width, kernel, stride, dilation, padding (t, l, b, r)
CONVOLUTIONS = [
    (1, 1, 1, 20, 28, 28, (5, 5), (1, 1), (1, 1), (0, 0, 0, 0)),
    (2, 1, 20, 50, 12, 12, (5, 5), (1, 1), (1, 1), (0, 0, 0, 0)),
    (1, 1, 1, 1, 1, 1, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    (3, 1, 5, 13, 1, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (2, 1, 16, 16, 9, 7, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (1, 1, 3, 17, 33, 35, (3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
    (2, 1, 33, 4, 8, 8, (1, 1), (2, 2), (1, 1), (0, 0, 0, 0)),
    (1, 6, 1, 1, 17, 19, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (2, 4, 3, 5, 11, 13, (3, 2), (1, 3), (2, 1), (2, 0, 1, 3)),
    (1, 1, 2, 3, 20, 21, (3, 3), (1, 1), (4, 5), (4, 5, 4, 5)),
    (1, 1, 2, 3, 9, 9, (3, 3), (7, 50), (1, 1), (0, 0, 0, 0)),
    (1, 1, 4, 6, 1, 100, (1, 7), (1, 1), (1, 2), (0, 6, 0, 6)),
    (1, 1, 130, 26, 6, 5, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (1, 1, 2, 2, 4, 4, (3, 3), (1, 1), (1, 1), (9, 9, 9, 9)),
    (0, 1, 2, 2, 4, 4, (3, 3), (1, 1), (1, 1), (0, 0, 0, 0)),
]


# As above, one input channel in a group: sizes around a vector's lanes, windows wholly in the padding, multipliers.
DEPTHWISE = [
    (1, 6, 1, 1, 17, 19, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (2, 3, 1, 1, 7, 7, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (1, 3, 1, 1, 56, 57, (3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
    (1, 2, 1, 1, 30, 31, (3, 3), (2, 2), (1, 1), (0, 0, 1, 1)),
    (2, 2, 1, 1, 20, 33, (5, 5), (1, 1), (1, 1), (2, 2, 2, 2)),
    (1, 3, 1, 2, 15, 66, (5, 5), (2, 2), (1, 1), (2, 1, 2, 2)),
    (1, 2, 1, 1, 19, 47, (7, 7), (1, 1), (1, 1), (3, 3, 3, 3)),
    (1, 2, 1, 3, 21, 20, (7, 7), (2, 2), (1, 1), (3, 3, 3, 3)),
    (1, 2, 1, 1, 3, 2, (3, 3), (1, 1), (1, 1), (7, 40, 3, 5)),
    (1, 2, 1, 1, 1, 1, (5, 5), (2, 2), (1, 1), (5, 5, 5, 9)),
    (1, 2, 1, 1, 40, 200, (3, 3), (1, 1), (2, 2), (2, 2, 2, 2)),
    (1, 2, 1, 2, 16, 37, (4, 6), (3, 3), (1, 2), (1, 5, 2, 4)),
    (2, 3, 1, 1, 1, 300, (1, 9), (1, 1), (1, 3), (0, 24, 0, 0)),
    (1, 2, 1, 1, 1, 50, (1, 3), (1, 50), (1, 1), (0, 1, 0, 1)),
]  # fmt: skip

# As above, 3x3 with stride 1: channels around a vector's lanes, tiles past the output, several blocks and chunks.
WINOGRAD = [
    (1, 1, 1, 1, 1, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (2, 1, 16, 16, 9, 7, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (1, 1, 5, 37, 12, 12, (3, 3), (1, 1), (1, 1), (0, 0, 0, 0)),
    (3, 1, 17, 3, 6, 31, (3, 3), (1, 1), (1, 1), (2, 1, 0, 2)),
    (1, 1, 40, 130, 4, 5, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (1, 1, 3, 2, 3, 3, (3, 3), (1, 1), (1, 1), (9, 9, 9, 9)),
    (2, 1, 100, 33, 30, 29, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (0, 1, 2, 2, 4, 4, (3, 3), (1, 1), (1, 1), (0, 0, 0, 0)),
]  # fmt: skip


# As above, stride 1: tiles of every size, several of them, more than one block, signals of one dimension.
FFT = [
    (1, 1, 1, 1, 30, 30, (7, 7), (1, 1), (1, 1), (3, 3, 3, 3)),
    (2, 1, 3, 5, 40, 70, (11, 9), (1, 1), (1, 1), (5, 4, 5, 4)),
    (1, 6, 1, 1, 50, 50, (31, 31), (1, 1), (1, 1), (15, 15, 15, 15)),
    (1, 2, 3, 6, 20, 33, (5, 5), (1, 1), (2, 3), (0, 1, 2, 3)),
    (1, 1, 2, 3, 1, 9000, (1, 200), (1, 1), (1, 1), (0, 10, 0, 20)),
    (2, 4, 1, 2, 1, 500, (1, 19), (1, 1), (1, 5), (0, 0, 0, 0)),
    (1, 1, 7, 9, 33, 3, (17, 3), (1, 1), (1, 1), (8, 1, 8, 1)),
    (1, 1, 30, 7, 100, 90, (6, 5), (1, 1), (1, 1), (2, 2, 3, 2)),
    (1, 1, 2, 2, 4, 4, (4, 4), (1, 1), (1, 1), (9, 9, 9, 9)),
    (0, 1, 2, 2, 9, 9, (5, 5), (1, 1), (1, 1), (0, 0, 0, 0)),
]  # fmt: skip


def out_size(size, kernel, stride, dilation, before, after):
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def arguments_of(case):
    """Sizes as the kernels have them, and the output's shape."""
    batch, groups, cin, cout, height, width, kernel, stride, dilation, pads = case
    shape = (
        batch, groups * cout,
        out_size(height, kernel[0], stride[0], dilation[0], pads[0], pads[2]),
        out_size(width, kernel[1], stride[1], dilation[1], pads[1], pads[3]),
    )  # fmt: skip
    sizes = {
        "batch": batch, "groups": groups, "in_channels": groups * cin, "in_h": height, "in_w": width,
        "out_channels": groups * cout, "out_h": shape[2], "out_w": shape[3], "kernel_h": kernel[0],
        "kernel_w": kernel[1], "stride_h": stride[0], "stride_w": stride[1], "dilation_h": dilation[0],
        "dilation_w": dilation[1], "pad_top": pads[0], "pad_left": pads[1],
    }  # fmt: skip
    return sizes, shape


def inputs_of(case, edge):
    batch, groups, cin, cout, height, width, kernel, *_ = case
    _, shape = arguments_of(case)
    tensors = {
        "x": floats(1, batch, groups * cin, height, width),
        "weights": floats(2, groups * cout, cin, *kernel),
    }
    if edge:
        tensors |= {"bias": floats(3, groups * cout), "residual": floats(4, *shape)}
    return tensors


@pytest.mark.parametrize(
    ("row", "case"),
    [(row, case) for row in rows_of("conv") + rows_of("direct") for case in CONVOLUTIONS + DEPTHWISE]
    + [(row, case) for row in rows_of("depthwise") for case in DEPTHWISE],
)
@pytest.mark.parametrize("edge", [False, True])
def test_direct(row, case, edge):
    """Equation (4)."""
    tensors, (sizes, shape) = inputs_of(case, edge), arguments_of(case)
    got, wanted = both(row, shape, **tensors, **sizes, **({"low": 0.0, "high": 6.0} if edge else {}))
    magnitude = np.empty(shape, np.float32)
    call("conv/reference", magnitude, **{name: np.abs(value) for name, value in tensors.items()}, **sizes)
    assert_within(got, wanted, gamma(case[2] * case[6][0] * case[6][1] + 3) * magnitude)


@pytest.mark.parametrize("m", MATRICES)
@pytest.mark.parametrize("case", WINOGRAD)
@pytest.mark.parametrize("edge", [False, True])
def test_winograd(m, case, edge):
    """Equation (12)."""
    tensors, (sizes, shape) = inputs_of(case, edge), arguments_of(case)
    magnitude = winograd(tensors["x"], tensors["weights"], m, case[9], absolute=True)
    if edge:
        magnitude += np.abs(tensors["bias"])[:, None, None] + np.abs(tensors["residual"])
    for row in rows_of(f"winograd{m}"):
        got, wanted = both(row, shape, **tensors, **sizes, **({"low": 0.0, "high": 6.0} if edge else {}))
        assert_within(got, wanted, gamma(case[2] + ROUNDINGS) * magnitude)


@pytest.mark.parametrize("m", MATRICES)
def test_the_oracle_of_winograd_is_a_convolution(m):
    case = WINOGRAD[3]
    tensors, (sizes, shape) = inputs_of(case, False), arguments_of(case)
    exact = call("conv/reference", np.empty(shape, np.float32), **tensors, **sizes)
    np.testing.assert_allclose(
        winograd(tensors["x"], tensors["weights"], m, case[9]), exact, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("m", MATRICES)
@pytest.mark.parametrize(("channels", "size"), [(64, 24), (256, 12), (512, 7)])
def test_winograd_is_accurate_on_layers_as_networks_have_them(m, channels, size):
    """Errors of no more than 1e-4 of the largest output; docs/numerics.md has a table."""
    case = (1, 1, channels, channels, size, size, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    tensors, (sizes, shape) = inputs_of(case, False), arguments_of(case)
    tensors["x"] = np.maximum(tensors["x"], 0)
    for row in rows_of(f"winograd{m}"):
        got, wanted = both(row, shape, **tensors, **sizes)
        assert np.abs(got - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("case", FFT)
@pytest.mark.parametrize("edge", [False, True])
def test_fft(case, edge):
    """Equation (18)."""
    tensors, (sizes, shape) = inputs_of(case, edge), arguments_of(case)
    bound = fft_bound(tensors["x"], tensors["weights"], case[1])
    if edge:
        bound = bound + gamma(3) * (np.abs(tensors["bias"])[:, None, None] + np.abs(tensors["residual"]))
    for row in rows_of("fft"):
        got, wanted = both(row, shape, **tensors, **sizes, **({"low": 0.0, "high": 6.0} if edge else {}))
        assert_within(got, wanted, bound)


def test_fft_is_accurate_on_layers_as_networks_have_them():
    """Errors of no more than 1e-5 of the largest output; docs/numerics.md has a table."""
    case = (1, 1, 64, 32, 28, 28, (7, 7), (1, 1), (1, 1), (3, 3, 3, 3))
    tensors, (sizes, shape) = inputs_of(case, False), arguments_of(case)
    tensors["x"] = np.maximum(tensors["x"], 0)
    for row in rows_of("fft"):
        got, wanted = both(row, shape, **tensors, **sizes)
        assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("row", rows_of("fft"))
def test_an_infinity_stays_in_its_image(row):
    case = (2, 1, 1, 1, 12, 12, (5, 5), (1, 1), (1, 1), (2, 2, 2, 2))
    tensors, (sizes, shape) = inputs_of(case, False), arguments_of(case)
    tensors["x"][0, 0, 3, 3] = np.inf
    got = call(row, np.empty(shape, np.float32), **tensors, **sizes)
    assert np.isfinite(got[1]).all()
    assert not np.isfinite(got[0, 0, 3, 3])


@pytest.mark.parametrize("row", rows_of("depthwise") + rows_of("winograd4") + rows_of("fft"))
def test_a_shape_that_a_method_does_not_fit_is_an_error(row):
    sizes, shape = arguments_of(CONVOLUTIONS[5])
    with pytest.raises(ValueError, match="does not fit"):
        call(row, np.empty(shape, np.float32), **inputs_of(CONVOLUTIONS[5], False), **sizes)
