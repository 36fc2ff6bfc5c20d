"""Element-wise, row-wise and pooling kernels: every row equals its plain loops in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_calls import UNIT, assert_within, both, call, floats, gamma, rows_of

# In the order of enum Unary, with parameters and the bound in units in the last place (docs/numerics.md, section 3).
UNARY = [
    ("abs", {}, 0), ("ceil", {}, 0), ("clip", {"a": -0.5, "b": 1.5}, 0), ("elu", {"a": 1.3}, 4), ("erf", {}, 4),
    ("exp", {}, 4), ("floor", {}, 0), ("gelu", {}, 0), ("gelu_tanh", {}, 0), ("hard_sigmoid", {"a": 0.2, "b": 0.5}, 4),
    ("hard_swish", {}, 4), ("leaky_relu", {"a": 0.01}, 1), ("log", {}, 4), ("neg", {}, 0), ("reciprocal", {}, 1),
    ("round", {}, 0), ("sigmoid", {}, 6), ("sign", {}, 0), ("softplus", {}, 6), ("sqrt", {}, 1), ("tanh", {}, 6),
    ("cos", {}, 2), ("sin", {}, 2),
]  # fmt: skip
# Where the result is far smaller than what it is a sum of, the bound is absolute, in units of max(|x|, 1).
ABSOLUTE = {"hard_sigmoid": 4, "hard_swish": 4, "gelu": 6, "gelu_tanh": 6}
LENGTHS = [0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 100]
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 3e38, -3e38, 88.9, -103.9, -87.5, 1e-20], np.float32
)


def within(name, got, x, exact, places):
    """Exact: the reference rounded to float32. Subnormal results count at the spacing of the smallest normal number."""
    scale = np.maximum(np.abs(exact.astype(float)), 2.0**-126)
    bound = 2 * UNIT * places * scale
    if name in ABSOLUTE:
        bound = bound + 2 * UNIT * ABSOLUTE[name] * np.where(np.isfinite(x), np.maximum(np.abs(x), 1.0), 1.0)
    assert_within(got, exact, np.where(np.isfinite(bound), bound, 0))


@pytest.mark.parametrize("row", rows_of("unary"))
@pytest.mark.parametrize("op", range(len(UNARY)), ids=[name for name, *_ in UNARY])
def test_unary(row, op):
    name, parameters, places = UNARY[op]
    for n in LENGTHS:
        x = floats(n, n) * 4
        got, exact = both(row, (n,), op=op, n=n, x=x, **parameters)
        within(name, got, x, exact, places)


@pytest.mark.parametrize("row", rows_of("unary"))
@pytest.mark.parametrize("op", range(len(UNARY)), ids=[name for name, *_ in UNARY])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_unary_of_special_values(row, op):
    name, parameters, places = UNARY[op]
    got, exact = both(row, SPECIAL.shape, op=op, n=len(SPECIAL), x=SPECIAL, **parameters)
    keep = np.ones(len(SPECIAL), bool)
    if name in ("hard_swish", "gelu", "gelu_tanh", "sin", "cos"):
        keep = np.isfinite(SPECIAL) & (np.abs(SPECIAL) < 1e9)  # inf * 0, and arguments beyond any reduction
    if name == "sigmoid":
        keep &= ~(SPECIAL < -88)  # below the normal numbers e^-x overflows: the result is 0
        assert (np.abs(got[SPECIAL < -88]) < 1e-37).all()
    within(name, got[keep], SPECIAL[keep], exact[keep], places)
    assert np.isnan(got[4])


@pytest.mark.parametrize("row", rows_of("unary"))
@pytest.mark.parametrize(
    "name", ["elu", "erf", "exp", "gelu", "gelu_tanh", "log", "sigmoid", "softplus", "tanh"]
)
def test_approximations_hold_over_their_whole_range(row, name):
    op = [row_name for row_name, *_ in UNARY].index(name)
    x = np.linspace(-104, 89, 200_003).astype(np.float32)
    x = np.concatenate(
        [x, np.geomspace(1e-40, 1e38 if name in ("erf", "log") else 10, 50_001).astype(np.float32)]
    )
    x = np.concatenate([x, np.linspace(-6, 6, 50_001).astype(np.float32)])
    if name == "log":
        x = x[x >= 0]
    if name == "sigmoid":
        x = x[x > -87]
    got, exact = both(row, x.shape, op=op, n=len(x), x=x, **UNARY[op][1])
    within(name, got, x, exact, UNARY[op][2])


@pytest.mark.parametrize("row", rows_of("round"))
@pytest.mark.parametrize("steps", [(0.5, 128, 0, 255), (0.037, 3, 0, 255), (1.7e-3, -5, -128, 127)])
def test_round_is_quantization_and_back(row, steps):
    scale, zero, low, high = steps
    x = np.r_[floats(3, 100) * 40 * scale, np.arange(-9, 9) * scale / 2, np.inf, -np.inf, np.nan].astype(
        np.float32
    )
    got, wanted = both(row, x.shape, n=len(x), x=x, scale=scale, zero=zero, low=low, high=high)
    np.testing.assert_array_equal(got, wanted)
    assert got[-1] == np.float32(scale) * (low - zero)
    assert len(np.unique(got)) > 10


@pytest.mark.parametrize("row", rows_of("binary"))
@pytest.mark.parametrize("op", range(8), ids=["add", "sub", "mul", "div", "max", "min", "pow", "prelu"])
@pytest.mark.parametrize("steps", [(1, 1), (0, 1), (1, 0)])
def test_binary(row, op, steps):
    for n in LENGTHS[1:]:
        a, b = floats(n, n) if op == 7 else np.abs(floats(n, n)) + 0.1, floats(n + 1, n)
        got, wanted = both(
            row, (n,), op=op, n=n, x=a, b=b, a_step=steps[0], b_step=steps[1], low=-1.0, high=2.0
        )
        assert_within(got, wanted, (4 if op == 6 else 1) * UNIT * np.abs(wanted))


@pytest.mark.parametrize("row", rows_of("binary"))
@pytest.mark.parametrize("op", [0, 1, 2, 3, 4, 5, 7], ids=["add", "sub", "mul", "div", "max", "min", "prelu"])
def test_binary_of_special_values(row, op):
    a, b = (grid.ravel().copy() for grid in np.meshgrid(SPECIAL, SPECIAL))
    got, wanted = both(row, a.shape, op=op, n=len(a), x=a, b=b)
    assert_within(got, wanted, 1e-45)


@pytest.mark.parametrize("row", rows_of("affine"))
@pytest.mark.parametrize("inner", [1, 3, 16, 49])
def test_affine(row, inner):
    x, scale, shift = floats(1, 6, inner), floats(2, 3), floats(3, 3)
    got, wanted = both(
        row, x.shape, planes=6, channels=3, inner=inner, x=x, scale=scale, shift=shift, low=-1.0
    )
    assert_within(got, wanted, 2 * UNIT * (np.abs(x * np.tile(scale, 2)[:, None]) + 3))


@pytest.mark.parametrize("row", rows_of("softmax"))
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 10, 1), (2, 17, 1), (1, 1000, 1), (2, 5, 7), (1, 9, 16), (2, 33, 35)]
)
@pytest.mark.parametrize("logarithm", [False, True])
def test_softmax(row, shape, logarithm):
    outer, n, inner = shape
    x = floats(n, *shape) * 5
    got, wanted = both(row, shape, outer=outer, n=n, inner=inner, x=x, logarithm=logarithm)
    assert_within(got, wanted, (gamma(n + 20) * np.abs(wanted) + 8 * UNIT * np.abs(x) * logarithm))
    moved = both(row, shape, outer=outer, n=n, inner=inner, x=x + 300, logarithm=logarithm)[0]
    np.testing.assert_allclose(moved, got, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("row", rows_of("softmax"))
def test_softmax_of_minus_infinity_and_nan(row):
    x = np.array([[0, -np.inf, 1], [np.nan, 0, 1], [-np.inf, -np.inf, 0]], np.float32)
    got = call(row, np.empty_like(x), outer=3, n=3, inner=1, x=x)
    assert got[0, 1] == 0
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(got[2], [0, 0, 1])


REDUCTIONS = ["sum", "mean", "max", "min", "sum of absolutes", "sum of squares"]


@pytest.mark.parametrize("row", rows_of("reduce"))
@pytest.mark.parametrize("op", range(6), ids=REDUCTIONS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 5, 1), (2, 16, 1), (2, 49, 1), (1, 1000, 1), (2, 3, 5), (2, 9, 33)]
)
def test_reduce(row, op, shape):
    outer, n, inner = shape
    x = floats(n, *shape)
    got, wanted = both(row, (outer, inner), op=op, outer=outer, n=n, inner=inner, x=x)
    size = np.square(x) if REDUCTIONS[op] == "sum of squares" else np.abs(x)
    assert_within(got, wanted, gamma(n + 1) * size.sum(1) / (n if op == 1 else 1) * (op not in (2, 3)))


@pytest.mark.parametrize("row", rows_of("reduce"))
@pytest.mark.parametrize("op", range(6), ids=REDUCTIONS)
@pytest.mark.parametrize("inner", [1, 3])
def test_reduce_keeps_nan(row, op, inner):
    x = np.zeros((1, 40, inner), np.float32)
    x[0, 7] = np.nan
    assert np.isnan(call(row, np.empty((1, inner), np.float32), op=op, outer=1, n=40, inner=inner, x=x)).all()


@pytest.mark.parametrize("row", rows_of("layer_norm"))
@pytest.mark.parametrize("n", [1, 5, 16, 33, 384])
@pytest.mark.parametrize("shifted", [False, True])
def test_layer_norm(row, n, shifted):
    x, scale = floats(n, 4, n), floats(1, n)
    shift = floats(2, n) if shifted else None
    got, wanted = both(row, x.shape, outer=4, n=n, x=x, scale=scale, shift=shift)
    spread = np.maximum(np.abs(x).max(1, keepdims=True) / np.sqrt(x.var(1, keepdims=True) + 1e-5), 1)
    assert_within(got, wanted, gamma(2 * n + 10) * spread * (np.abs(scale) + np.abs(wanted)))


@pytest.mark.parametrize("row", rows_of("layer_norm"))
@pytest.mark.parametrize(("channels", "area"), [(1, 1), (3, 1), (1, 49), (3, 16), (4, 33), (2, 400)])
@pytest.mark.parametrize("centered", [True, False])
def test_layer_norm_of_groups_of_channels(row, channels, area, centered):
    n = channels * area
    x, scale, shift = floats(n, 4, n) + 1, floats(1, channels), floats(2, channels)
    arguments = {"outer": 4, "n": n, "x": x, "scale": scale, "shift": shift, "area": area}
    got, wanted = both(row, x.shape, **arguments, centered=centered)
    spread = np.maximum(np.abs(x).max(1, keepdims=True) / np.sqrt(x.var(1, keepdims=True) + 1e-5), 1)
    assert_within(got, wanted, gamma(2 * n + 10) * spread * (np.abs(scale).max() + np.abs(wanted)))
    mean = x.mean(1, keepdims=True) * centered
    unit = (x - mean) / np.sqrt(np.square(x - mean).mean(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(wanted, unit * np.repeat(scale, area) + np.repeat(shift, area), atol=1e-4)


# planes, height, width, kernel, stride, dilation, padding (top, left, bottom, right), output size
POOLS = [
    (20, 24, 24, (2, 2), (2, 2), (1, 1), (0, 0, 0, 0), (12, 12)),
    (3, 64, 70, (2, 2), (2, 2), (1, 1), (0, 0, 0, 0), (32, 35)),
    (2, 9, 37, (3, 3), (2, 2), (1, 1), (1, 1, 1, 1), (5, 19)),
    (2, 9, 37, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (9, 37)),
    (1, 1, 1, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    (2, 7, 8, (3, 2), (3, 5), (2, 3), (2, 1, 2, 2), (3, 2)),
    (1, 5, 5, (2, 2), (2, 2), (1, 1), (0, 0, 0, 0), (3, 3)),  # ceil_mode: the last windows hang over
    (0, 5, 5, (2, 2), (2, 2), (1, 1), (0, 0, 0, 0), (2, 2)),
]


@pytest.mark.parametrize("row", rows_of("pool"))
@pytest.mark.parametrize("case", POOLS)
@pytest.mark.parametrize("kind", ["max", "average", "average with padding"])
def test_pool(row, case, kind):
    planes, height, width, kernel, stride, dilation, pads, out = case
    x = floats(1, planes, height, width)
    if planes > 1:
        x[1, 2, 3] = np.nan
    sizes = {"planes": planes, "in_h": height, "in_w": width, "out_h": out[0], "out_w": out[1], "kernel_h": kernel[0],
                 "kernel_w": kernel[1], "stride_h": stride[0], "stride_w": stride[1], "dilation_h": dilation[0],
                 "dilation_w": dilation[1], "pad_top": pads[0], "pad_left": pads[1],
                 "pad_bottom": pads[2], "pad_right": pads[3]}  # fmt: skip
    average, padding = kind != "max", kind == "average with padding"
    got, wanted = both(row, (planes, *out), x=x, average=average, count_padding=padding, **sizes)
    assert_within(got, wanted, gamma(kernel[0] * kernel[1] + 1) * 5 * average)
