"""Layers of integer-only networks become one step each, on every instruction set, without a bit of difference."""

from __future__ import annotations

import numpy as np
import pytest

from gossamer import _native
from gossamer.artifact import Operation, Port, Program
from gossamer.engine import Engine
from gossamer.numerics import integers
from gossamer.weights import Dense

ISAS = _native.machine_isas()
BYTES = [np.uint8, np.int8]


def network(x, operations, constants, dtype, result="y"):
    port = Port("x", x.dtype.name, ("batch", *x.shape[1:]))
    kept = {name: Dense(np.asarray(values)) for name, values in constants.items()}
    return Program(
        (port,), (Port(result, np.dtype(dtype).name, None),), tuple(operations), kept, {"": 18, "gossamer": 1}
    )


def standard(op, read, written, **attributes):
    return Operation(op, tuple(read.split()), (written,), attributes, written)


def requantize(read, written, **attributes):
    return Operation(
        "Requantize",
        tuple("" if r == "-" else r for r in read.split()),
        (written,),
        attributes,
        written,
        "gossamer",
    )


def numbers(seed, shape, dtype):
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max, shape, dtype, endpoint=True)


def convolved(x, w, x_zero, stride=1, pad=0, groups=1, dilation=1):
    """In int64, tap by tap."""
    padded = np.pad(x.astype(np.int64) - int(x_zero), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows, channels, kh, kw = w.shape
    out = [
        (n - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(padded.shape[2:], (kh, kw), strict=True)
    ]
    y = np.zeros((len(x), rows, *out), np.int64)
    for o in range(rows):
        first = o // (rows // groups) * channels
        for u in range(kh):
            for v in range(kw):
                taps = padded[:, first : first + channels, u * dilation :, v * dilation :]
                taps = taps[:, :, : (out[0] - 1) * stride + 1 : stride, : (out[1] - 1) * stride + 1 : stride]
                y[:, o] += np.tensordot(taps, w[o, :, u, v].astype(np.int64), (1, 0))
    return y


def factors(seed, rows, depth):
    """Multipliers and shifts with which sums of `depth` products become bytes of all sizes."""
    rng = np.random.default_rng(seed)
    pairs = [integers.fixed_point(f / (2 * depth**0.5)) for f in rng.uniform(0.2, 2, rows)]
    return np.array([m for m, _ in pairs], np.int32), np.array([n for _, n in pairs], np.int32)


# channels, rows, size, kernel, stride, pad, groups, dilation, and the family that runs it
LAYERS = [
    (3, 8, 20, 3, 2, 1, 1, 1, "cell_bytes"),
    (64, 40, 7, 3, 1, 1, 1, 1, "qgemm"),
    (32, 33, 5, 1, 1, 0, 1, 1, "cell_bytes"),
    (12, 12, 11, 3, 1, 1, 12, 1, "depthwise_cells"),
    (12, 24, 11, 3, 2, 1, 4, 2, "cell_bytes"),
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("given", BYTES)
@pytest.mark.parametrize("wanted", BYTES)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_convolution_with_bias_and_requantization_is_one_step(isa, given, wanted, layer):
    channels, rows, size, kernel, stride, pad, groups, dilation, family = layer
    x, w = (
        numbers(1, (2, channels, size, size), given),
        numbers(2, (rows, channels // groups, kernel, kernel), np.int8),
    )
    bias = np.random.default_rng(3).integers(-9000, 9000, (1, rows, 1, 1), np.int32)
    m, n = factors(4, rows, 128 * 128 * w[0].size)
    constants = {
        "w": w,
        "b": bias,
        "m": m,
        "n": n,
        "z": wanted(17),
        "xz": given(-9 if given is np.int8 else 9),
    }
    program = network(x, [
        standard("ConvInteger", "x w xz", "s", pads=(pad,) * 4, strides=(stride,) * 2, group=groups,
                 dilations=(dilation,) * 2),
        standard("Add", "s b", "t"), requantize("t m n z", "y", low=17),
    ], constants, wanted)  # fmt: skip
    exact = convolved(x, w, constants["xz"], stride, pad, groups, dilation) + bias
    engine = Engine(program, isa=isa)
    result = engine(x)
    assert result.dtype == wanted
    np.testing.assert_array_equal(
        result, integers.requantize(exact, m, n, 17, dtype=wanted, bounds=(17, 255))
    )
    assert len(np.unique(result)) > 20, "the case distinguishes nothing"
    kernels = [step.kernel for step in engine.explain()]
    assert len(kernels) == 3 and kernels[0] == kernels[2] == "reorder", kernels
    if isa.startswith("avx512"):
        assert kernels[1] == f"{family}/{isa}"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("behind", ["nothing", "Add", "two readers", "Requantize to int32", "a zero point"])
def test_sums_that_something_else_reads_are_those_of_the_kernel(isa, behind):
    x, w = numbers(1, (2, 6, 9, 9), np.uint8), numbers(2, (10, 6, 3, 3), np.uint8)
    bias = np.arange(10, dtype=np.int32).reshape(10, 1, 1)
    m, n = factors(4, 10, 128 * 128 * 54)
    constants = {
        "w": w,
        "b": bias,
        "m": m,
        "n": n,
        "z": np.uint8(3),
        "i": np.int32(77),
        "wz": np.uint8(128),
        "xz": np.uint8(200),
    }
    exact = convolved(x, w.astype(np.int64) - 128, 200)
    operations = [standard("ConvInteger", "x w xz wz", "y" if behind == "nothing" else "s")]
    if behind == "Add":
        operations.append(standard("Add", "b s", "y"))
        exact += bias
    elif behind == "two readers":
        operations += [requantize("s m n", "q"), standard("Add", "q s", "y")]
        exact += integers.requantize(exact, m, n)
    elif behind == "Requantize to int32":
        operations.append(requantize("s m n i", "y"))
        exact = integers.requantize(exact, m, n, 77)
    elif behind == "a zero point":
        operations.append(requantize("s m n i i", "y"))
        exact = integers.requantize(exact, m, n, 77, 77)
    engine = Engine(network(x, operations, constants, np.int32), isa=isa)
    np.testing.assert_array_equal(engine(x), exact)
    assert not any(step.kernel == "plain loop" for step in engine.explain() if step.operator != "Add")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("given", BYTES)
@pytest.mark.parametrize("wanted", BYTES)
@pytest.mark.parametrize("broadcast", [False, True])
def test_pooling_and_residual_sums_stay_in_cells(isa, given, wanted, broadcast):
    x, w = numbers(1, (2, 5, 12, 12), given), numbers(2, (5, 5, 3, 3), np.int8)
    m, n = factors(4, 5, 128 * 128 * 45)
    (ma, na), (mb, nb), (mc, nc) = (integers.fixed_point(f) for f in (2.0**13, 1.7 * 2**13, 0.6 * 2.0**-13))
    factor = {"ma": ma, "na": na, "mb": mb, "nb": nb, "mc": mc, "nc": nc}
    constants = {"w": w, "m": m, "n": n, "z": given(5), "o": wanted(100), "xz": given(4)}
    constants |= {name: np.int32(value) for name, value in factor.items()}
    window = (
        {"kernel_shape": (12, 12)}
        if broadcast
        else {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "strides": (1, 1)}
    )
    program = network(x, [
        standard("ConvInteger", "x w xz", "s", pads=(1, 1, 1, 1)), requantize("s m n z", "q"),
        standard("MaxPool", "q", "p", **window),
        requantize("p ma na - z", "a"), requantize("q mb nb - z", "b"), standard("Add", "a b", "t"),
        requantize("t mc nc o", "r"), requantize("r mc nc o o", "y"),
    ], constants, wanted)  # fmt: skip
    q = integers.requantize(convolved(x, w, 4, pad=1), m, n, 5, dtype=given)
    edge = np.pad(q, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.iinfo(given).min)
    windows = np.lib.stride_tricks.sliding_window_view(edge, (3, 3), (2, 3))
    pooled = q.max((2, 3), keepdims=True) if broadcast else windows.max((4, 5))
    total = integers.requantize(pooled, ma, na, 0, 5) + integers.requantize(q, mb, nb, 0, 5)
    r = integers.requantize(total, mc, nc, 100, dtype=wanted)
    engine = Engine(program, isa=isa)
    np.testing.assert_array_equal(engine(x), integers.requantize(r, mc, nc, 100, 100, dtype=wanted))
    assert len(np.unique(r)) > 20, "the case distinguishes nothing"
    assert [step.operator for step in engine.explain()][2:5] == [
        "gossamer.MaxPool",
        "gossamer.AddInteger",
        "gossamer.Lookup",
    ]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("given", BYTES)
@pytest.mark.parametrize("wanted", BYTES)
@pytest.mark.parametrize(
    ("shape", "axis", "steps"), [((7, 33), 1, 1), ((3, 5, 33), -1, 1), ((3, 5, 33), 1, 2)]
)
def test_a_product_with_bias_and_requantization_is_one_step(isa, given, wanted, shape, axis, steps):
    rows = 5 if steps == 2 else 21
    x, w = numbers(1, shape, given), numbers(2, (33, rows), np.int8)
    bias = np.random.default_rng(3).integers(-9000, 9000, rows, np.int32)
    m, n = factors(4, rows, 128 * 128 * 33)
    constants = {"w": w, "b": bias, "m": m, "n": n, "z": wanted(17), "xz": given(50)}
    program = network(x, [
        standard("MatMulInteger", "x w xz", "s"), standard("Add", "s b", "t"), requantize("t m n z", "y", axis=axis),
    ], constants, wanted)  # fmt: skip
    exact = (x.astype(np.int64) - 50) @ w.astype(np.int64) + bias
    engine = Engine(program, isa=isa)
    np.testing.assert_array_equal(engine(x), integers.requantize(exact, m, n, 17, axis=axis, dtype=wanted))
    assert len(engine.explain()) == steps
    assert engine.explain()[0].kernel == f"qgemm/{isa}"


def test_the_plan_says_why_a_convolution_is_a_plain_loop():
    x, w = numbers(1, (1, 2, 4, 4), np.uint8), numbers(2, (3, 2, 3, 3), np.uint8)
    w.flat[:2] = 0, 255
    engine = Engine(network(x, [standard("ConvInteger", "x w", "y")], {"w": w}, np.int32))
    np.testing.assert_array_equal(engine(x), convolved(x, w, 0))
    assert engine.explain()[0].kernel == "plain loop" and "int8" in engine.explain()[0].note
