"""Integer-only networks: the operators of domain "gossamer" equal their NumPy reference, bit by bit."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from gossamer import _native
from gossamer.artifact import Operation, Port, Program, pack, unpack
from gossamer.engine import Engine
from gossamer.errors import GossamerError, UnsupportedError
from gossamer.numerics import integers
from gossamer.weights import Dense

EXTREMES = np.array([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 2, 2**31 - 1], np.int32)
INPUTS = [np.int8, np.uint8, np.int32]


def numbers(seed, shape, dtype, most=None):
    info = np.iinfo(dtype)
    least, greatest = (info.min, info.max) if most is None else (max(info.min, -most), min(info.max, most))
    return np.random.default_rng(seed).integers(least, greatest, shape, dtype, endpoint=True)


def one(op, inputs, attributes, constants=(), dtype="int32"):
    """A Program of one operator: ``inputs`` and ``constants`` are arrays, the constants come last; None: absent."""
    named = {f"x{i}": np.asarray(a) for i, a in enumerate(inputs)}
    kept = {f"c{i}": None if a is None else np.asarray(a) for i, a in enumerate(constants)}
    names = [*named, *("" if a is None else name for name, a in kept.items())]
    node = Operation(op, tuple(names), ("y",), attributes, "node", "gossamer")
    ports = tuple(Port(name, a.dtype.name, a.shape) for name, a in named.items())
    weights = {name: Dense(a) for name, a in kept.items() if a is not None}
    return Program(ports, (Port("y", dtype, None),), (node,), weights, {"": 18, "gossamer": 1})


def test_requantization_is_the_page_of_numerics_in_exact_fractions():
    for seed in range(200):
        x, m = (int(numbers(2 * seed + i, (), np.int32)) for i in range(2))
        n = int(np.random.default_rng(seed).integers(-31, 32))
        shifted = max(-(2**31), min(2**31 - 1, x * 2 ** max(0, -n)))
        p = min(2**31 - 1, math.floor(Fraction(shifted * m, 2**31) + Fraction(1, 2)))
        size = math.floor(Fraction(abs(p), 2 ** max(0, n)) + Fraction(1, 2))
        wanted = max(-128, min(127, (size if p >= 0 else -size) + 3))
        got = integers.requantize(np.array(x), np.array(m), np.array(n), 3, dtype=np.int8)
        assert int(got) == wanted


@pytest.mark.parametrize(
    "factor", [0.0, 1e-12, 2.0**-40, 0.0003, 0.5, 0.99999999999, 1.0, 3.7, 1e6, 2.0**31 - 1]
)
def test_a_factor_is_its_fixed_point_number(factor):
    multiplier, shift = integers.fixed_point(factor)
    assert 0 <= multiplier < 2**31 and -31 <= shift <= 31
    assert math.isclose(multiplier * 2.0 ** (-31 - shift), factor, rel_tol=2**-30, abs_tol=2**-62)


@pytest.mark.parametrize("factor", [-1.0, math.inf, math.nan, 2.0**31])
def test_other_factors_are_refused(factor):
    with pytest.raises(ValueError, match="requantization by"):
        integers.fixed_point(factor)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("per_channel", [False, True])
def test_requantize(given, dtype, per_channel):
    x = numbers(1, (3, 7, 11), given)
    if given is np.int32:
        x[0, 0, :7] = EXTREMES
    count = 7 if per_channel else 1
    m, n = numbers(2, count, np.int32), np.random.default_rng(3).integers(-31, 32, count, np.int32)
    m[0], n[0] = -(2**31), 0
    zero, x_zero = dtype(5), given(9 if given is not np.int32 else 2**31 - 1)
    for clamp in ({}, {"low": 3}, {"low": 0, "high": 100}):
        program = one("Requantize", [x], {"axis": 1, **clamp}, [m, n, zero, x_zero], np.dtype(dtype).name)
        bounds = clamp.get("low", -(2**31)), clamp.get("high", 2**31 - 1)
        wanted = integers.requantize(x, m, n, zero, x_zero, dtype=dtype, bounds=bounds)
        got = Engine(program)(x)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("scale", [0.25, 0.1, 0.004, 5e-5])
def test_softmax(given, scale):
    x = numbers(4, (5, 6, 33), given, most=int(12 / scale))
    if given is np.int32:
        x[0, 0, :7] = EXTREMES
    constants = integers.Exponential.of(scale)
    attributes = {"ln2": constants.ln2, "b": constants.b, "c": constants.c}
    for axis, bits in ((-1, 8), (1, 8), (-1, 5)):
        got = Engine(one("IntegerSoftmax", [x], {**attributes, "axis": axis, "bits": bits}, dtype="uint8"))(x)
        np.testing.assert_array_equal(got, integers.softmax(x, constants, axis=axis, bits=bits))
    wide = numbers(9, (3, 700), given, most=int(12 / scale))  # longer than there are bytes
    got = Engine(one("IntegerSoftmax", [wide], attributes, dtype="uint8"))(wide)
    np.testing.assert_array_equal(got, integers.softmax(wide, constants))
    exact = np.exp(scale * (x.astype(float) - x.max(-1, keepdims=True)))
    exact /= exact.sum(-1, keepdims=True)
    error = np.abs(integers.softmax(x, constants) / 256 - exact)
    assert error.max() < 0.01 + (0.15 * scale), error.max()


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("scale", [0.5, 0.05, 0.004])
def test_gelu(given, scale):
    x = numbers(5, 2000, given, most=int(6 / scale))
    zero = given(17)
    constants = integers.Gelu.of(scale)
    got = Engine(one("IntegerGelu", [x], {"b": constants.b, "c": constants.c}, [zero]))(x)
    np.testing.assert_array_equal(got, integers.gelu(x, constants, zero))
    t = scale * (x.astype(float) - float(zero))
    exact = np.array([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in t])
    assert np.abs(got * constants.output_scale - exact).max() < 0.02 + 0.05 * scale * np.abs(t).max()


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("bits", [8, 15, 20])
def test_layer_normalization(given, bits):
    x = numbers(6, (4, 5, 96), given, most=3000)
    x[0, 0], x[0, 1] = 0, 7  # no deviation at all
    if given is np.int32:
        x[0, 2, :7] = EXTREMES
    weight, bias = numbers(7, 96, np.int32, 127), numbers(8, 96, np.int32, 2**20)
    got = Engine(one("IntegerLayerNorm", [x], {"fraction_bits": bits}, [weight, bias]))(x)
    np.testing.assert_array_equal(got, integers.layer_norm(x, weight, bias, fraction_bits=bits))
    held = x[1:].astype(float)
    exact = (held - held.mean(-1, keepdims=True)) / held.std(-1, keepdims=True) * weight
    plain = integers.layer_norm(x[1:], weight, fraction_bits=bits) * integers.layer_norm_scale(96, bits, 1.0)
    assert np.abs(plain - exact).max() < 127 * (0.05 + 2.0 ** (4 - bits))


@pytest.mark.parametrize(("constants", "scale"), [(integers.Exponential, 4e-5), (integers.Exponential, 0.3),
                                                  (integers.Gelu, 0.003), (integers.Gelu, 0.6)])  # fmt: skip
def test_scales_that_the_polynomials_do_not_hold_are_refused(constants, scale):
    with pytest.raises(ValueError, match="Requantize to one of"):
        constants.of(scale)


def test_extreme_sums_stay_within_64_bits():
    x = np.full((2, 16384), -(2**31), np.int32)
    x[:, ::2] = 2**31 - 1
    weight = np.full(16384, -(2**31), np.int32)
    got = Engine(one("IntegerLayerNorm", [x], {"fraction_bits": 20}, [weight]))(x)
    np.testing.assert_array_equal(got, integers.layer_norm(x, weight, fraction_bits=20))


def convolution(x, w, x_zero):
    """3x3, stride 1, padding 1, in int64."""
    padded = np.pad(x.astype(np.int64) - x_zero, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, w.astype(np.int64))


def small_network():
    """uint8 image: a convolution with a ReLU, a second one added to it, mean, product, int32 out."""
    rng = np.random.default_rng(9)
    weights = {
        "w1": rng.integers(-127, 128, (8, 3, 3, 3), np.int8), "b1": rng.integers(-9000, 9000, (8, 1, 1), np.int32),
        "m1": rng.integers(2**30, 2**31, 8, np.int64).astype(np.int32), "n1": np.full(8, 8, np.int32),
        "w2": rng.integers(-127, 128, (8, 8, 3, 3), np.int8), "m2": np.int32(1431655765), "n2": np.int32(9),
        "ma": np.int32(2**30 + 12345), "na": np.int32(-15), "mb": np.int32(1900000000), "nb": np.int32(-14),
        "mc": np.int32(1234567890), "nc": np.int32(14), "mm": np.int32(1400000000), "nm": np.int32(4),
        "wl": rng.integers(-127, 128, (8, 5), np.int8), "bl": rng.integers(-500, 500, 5, np.int32),
        "z3": np.uint8(3), "z0": np.uint8(0), "z9": np.uint8(9), "i8": np.int8(0), "axes": np.array([2, 3]),
    }  # fmt: skip

    def own(op, read, written, **attributes):
        return Operation(op, tuple(read), (written,), attributes, written, "gossamer")

    def standard(op, read, written, **attributes):
        return Operation(op, tuple(read), (written,), attributes, written)

    pads = {"pads": (1, 1, 1, 1)}
    operations = (
        standard("ConvInteger", ["x", "w1", "z3"], "s1", **pads),
        standard("Add", ["s1", "b1"], "t1"),
        own("Requantize", ["t1", "m1", "n1", "z0"], "q1", axis=1),
        standard("ConvInteger", ["q1", "w2", "z0", "i8"], "s2", **pads),
        own("Requantize", ["s2", "m2", "n2", "z9"], "q2"),
        own("Requantize", ["q1", "ma", "na", "", "z0"], "r1"),
        own("Requantize", ["q2", "mb", "nb", "", "z9"], "r2"),
        standard("Add", ["r1", "r2"], "r"),
        own("Requantize", ["r", "mc", "nc", "z9"], "q3", low=9),
        standard("Cast", ["q3"], "wide", to=6),
        standard("ReduceSum", ["wide", "axes"], "sums", keepdims=0),
        own("Requantize", ["sums", "mm", "nm", "z9"], "q4"),
        standard("MatMulInteger", ["q4", "wl", "z9"], "products"),
        standard("Add", ["products", "bl"], "y"),
    )
    program = Program((Port("x", "uint8", ("batch", 3, 6, 6)),), (Port("y", "int32", None),), operations,
                      {name: Dense(np.asarray(v)) for name, v in weights.items()}, {"": 18, "gossamer": 1})  # fmt: skip
    return program, weights


def reference(x, w):
    quantized = integers.requantize
    q1 = quantized(convolution(x, w["w1"], 3) + w["b1"], w["m1"], w["n1"], 0, dtype=np.uint8)
    q2 = quantized(convolution(q1, w["w2"], 0), w["m2"], w["n2"], 9, dtype=np.uint8)
    r = quantized(q1, w["ma"], w["na"]) + quantized(q2, w["mb"], w["nb"], 0, 9)
    q3 = quantized(r, w["mc"], w["nc"], 9, dtype=np.uint8, bounds=(9, 255))
    q4 = quantized(q3.sum((2, 3), dtype=np.int64), w["mm"], w["nm"], 9, dtype=np.uint8)
    return (q4.astype(np.int64) - 9) @ w["wl"].astype(np.int64) + w["bl"]


@pytest.mark.parametrize("isa", _native.machine_isas())
def test_a_whole_network_without_a_float_is_bit_exact(isa):
    program, weights = small_network()
    assert not any(np.issubdtype(w.values.dtype, np.floating) for w in program.weights.values())
    for batch in (1, 5):
        x = numbers(batch, (batch, 3, 6, 6), np.uint8)
        np.testing.assert_array_equal(Engine(program, isa=isa)(x), reference(x, weights))


def test_a_file_holds_it():
    program, weights = small_network()
    x = numbers(3, (2, 3, 6, 6), np.uint8)
    np.testing.assert_array_equal(Engine(unpack(pack(program)))(x), reference(x, weights))


@pytest.mark.parametrize("isa", _native.machine_isas())
@pytest.mark.parametrize("given", [np.uint8, np.int8])
@pytest.mark.parametrize("weight", [np.uint8, np.int8])
@pytest.mark.parametrize(("rows", "depth", "width"), [(1, 1, 1), (3, 7, 5), (17, 64, 33), (40, 130, 70)])
def test_products_with_constant_weights(isa, given, weight, rows, depth, width):
    x, w = numbers(rows, (2, rows, depth), given), numbers(depth, (depth, width), weight)
    for zeros in ((), (given(5),), (given(100), weight(7))):
        names = tuple(f"z{i}" for i in range(len(zeros)))
        product = Operation("MatMulInteger", ("x", "w", *names), ("y",), {}, "n")
        stored = {"w": Dense(w), **{n: Dense(np.asarray(z)) for n, z in zip(names, zeros, strict=True)}}
        program = Program((Port("x", x.dtype.name, ("b", rows, depth)),), (Port("y", "int32", None),), (product,),
                          stored, {"": 18})  # fmt: skip
        points = [int(z) for z in (*zeros, 0, 0)][:2]
        engine = Engine(program, isa=isa)
        wanted = (x.astype(np.int64) - points[0]) @ (w.astype(np.int64) - points[1])
        np.testing.assert_array_equal(engine(x), wanted)
        assert engine.explain()[0].kernel == f"qgemm/{isa}"


_ONE, _ROW, _TABLE = np.zeros(3, np.int8), np.zeros(3, np.int32), np.zeros((3, 4), np.int32)
_PAIR, _ONES = [np.int32(1), np.int32(0)], [np.ones(3, np.int32)] * 2
BROKEN = {
    "an unknown operator": ("Requantise", [_ROW], {}, _PAIR, "Requantise"),
    "an unknown attribute": ("IntegerGelu", [_ONE], {"b": 1, "c": 1, "d": 1}, [], "'d'"),
    "float inputs": ("IntegerGelu", [np.zeros(3, np.float32)], {"b": 1, "c": 1}, [], "float32"),
    "no constants": ("IntegerSoftmax", [_ONE], {"b": 1, "c": 1}, [], "'ln2' is missing"),
    "sums beyond int32": ("IntegerSoftmax", [_ONE], {"ln2": 9, "b": 46000, "c": 2**31 - 1}, [], "scale"),
    "nothing to divide by": ("IntegerSoftmax", [_ONE], {"ln2": 9, "b": 0, "c": 0}, [], "scale"),
    "a long shift": ("Requantize", [_ROW], {}, [np.int32(1), np.int32(32)], "shift of 32"),
    "other channels": ("Requantize", [_TABLE], {}, _ONES, "dimension 1"),
    "an axis too far": ("Requantize", [_TABLE], {"axis": 2}, _ONES, "axis 2"),
    "an empty clamp": ("Requantize", [_ONE], {"low": 9, "high": 3}, _PAIR, "empty"),
    "a long row": ("IntegerLayerNorm", [np.zeros(16385, np.int8)], {"fraction_bits": 8},
                   [np.ones(16385, np.int32)], "16384"),
    "fraction bits": ("IntegerLayerNorm", [_ONE], {"fraction_bits": 21}, [np.ones(3, np.int32)], "1 to 20"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_named(case):
    op, inputs, attributes, constants, message = BROKEN[case]
    with pytest.raises(GossamerError, match=message):
        Engine(one(op, inputs, attributes, constants))(*inputs)


def test_another_version_of_the_domain_is_refused():
    program, _ = small_network()
    with pytest.raises(UnsupportedError, match="version 2"):
        Engine(replace(program, opsets={"": 18, "gossamer": 2}))


@pytest.mark.parametrize("name", ["gossamer::Requantize", "gossamer.MatMul"])
def test_names_of_the_engine_itself_are_refused_in_the_standard_domain(name):
    operation = Operation(name, ("x",), ("y",), {}, "n")
    with pytest.raises(UnsupportedError):
        Engine(Program((Port("x", "int32", (1,)),), (Port("y", "int32", None),), (operation,), {}, {"": 18}))
