"""Networks of signs in the engine: recognized, computed by counting bits, equal to what the file says in floats."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_programs import floats, program

from gossamer import Engine, _native
from gossamer.weights import Codebook

ISAS = _native.machine_isas()

# input, weights, attributes of Conv
CONVOLUTIONS = [
    ((2, 5, 7, 9), (4, 5, 3, 3), {"pads": (1, 1, 1, 1)}),
    ((1, 64, 6, 6), (17, 64, 1, 1), {}),
    ((1, 33, 11, 40), (9, 33, 3, 5), {"pads": (0, 3, 2, 1), "strides": (2, 1), "dilations": (1, 2)}),
    ((1, 40, 13, 14), (33, 40, 5, 3), {"pads": (4, 2, 4, 2), "strides": (1, 3), "dilations": (2, 1)}),
    ((3, 7, 50), (6, 7, 4), {"pads": (3, 2), "strides": (2,)}),
    ((1, 3, 2, 2), (5, 3, 3, 3), {"pads": (2, 2, 2, 2)}),
]
CHOICE = [
    ("GreaterOrEqual", ["x", "zero"], ["positive"], {}),
    ("Where", ["positive", "one", "minus"], ["signs"], {}),
]
SCALARS = {"zero": np.float32(0), "one": np.float32(1), "minus": np.float32(-1)}


def binary(seed, *shape):
    """Weights of two values in each row, powers of two: sums of them in float32 are exact."""
    scales = 2.0 ** np.random.default_rng(seed).integers(-3, 3, (shape[0], *(1,) * (len(shape) - 1)))
    return (np.where(floats(seed, *shape) > 0, 1, -1) * scales).astype(np.float32)


def given(*shape):
    x = floats(3, *shape)
    x.reshape(-1)[::5] = 0.0
    x.reshape(-1)[1::11] = np.nan
    return x


def dyadic(seed, n):
    return np.round(floats(seed, n) * 64) / np.float32(64)


def convolved(x, w, bias, attributes):
    dims = w.ndim - 2
    pads = attributes.get("pads", (0,) * 2 * dims)
    signs = torch.from_numpy(np.where(x >= 0, 1.0, -1.0))
    around = [p for d in reversed(range(dims)) for p in (pads[d], pads[d + dims])]
    convolve = torch.nn.functional.conv2d if dims == 2 else torch.nn.functional.conv1d
    more = {"stride": attributes.get("strides", 1), "dilation": attributes.get("dilations", 1)}
    padded = torch.nn.functional.pad(signs, around)
    return (
        convolve(padded, torch.from_numpy(w).double(), torch.from_numpy(bias).double(), **more)
        .float()
        .numpy()
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("shape", "weights", "attributes"), CONVOLUTIONS)
def test_convolutions_of_signs(isa, shape, weights, attributes):
    x, w, bias = given(*shape), binary(1, *weights), dyadic(2, weights[0])
    operations = [*CHOICE, ("Conv", ["signs", "w", "b"], ["y"], attributes)]
    net = program({"x": (None, *shape[1:])}, operations, ["y"], {"w": w, "b": bias, **SCALARS})
    engine = Engine(net, isa=isa, threads=2)
    np.testing.assert_array_equal(engine(x), convolved(x, w, bias, attributes))
    (step,) = engine.explain(x)
    assert step.kernel == f"xnor/{isa}" and step.operator == "gossamer.SignConv"


@pytest.mark.parametrize(
    ("operator", "shape", "weights", "attributes", "reason"),
    [
        ("Conv", (2, 6, 7, 9), (6, 1, 3, 3), {"group": 6}, "one group"),
        ("Conv", (2, 6, 7, 9), (4, 3, 3, 3), {"group": 2}, "one group"),
        ("Gemm", (5, 5), (5, 7), {"transA": 1}, "transA"),
        ("Gemm", (5, 5), (5, 7), {"alpha": 0.5}, "alpha"),
    ],
)
def test_signs_that_stay_floats_say_why(operator, shape, weights, attributes, reason):
    w = binary(1, *weights) if operator == "Conv" else binary(1, *reversed(weights)).T.copy()
    operations = [*CHOICE, (operator, ["signs", "w"], ["y"], attributes)]
    net = program({"x": shape}, operations, ["y"], {"w": w, **SCALARS})
    steps = Engine(net).explain(given(*shape))
    assert "float32: bits are counted" in steps[-1].note and reason in steps[-1].note


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("operator", ["MatMul", "Gemm", "Gemm transposed", "codebook"])
def test_products_of_signs(isa, operator):
    w, bias = binary(4, 37, 70), dyadic(5, 37)
    if operator == "codebook":
        w = np.sign(w)
    x = given(9, 70)
    wanted = (np.where(x >= 0, 1.0, -1.0) @ w.T.astype(float) + bias).astype(np.float32)
    right = w if operator == "Gemm transposed" else np.ascontiguousarray(w.T)
    held = (
        Codebook.of(((right + 1) / 2).astype(int), np.array([-1.0, 1.0])) if operator == "codebook" else right
    )
    if operator.startswith("Gemm"):
        last = [("Gemm", ["signs", "w", "b"], ["y"], {"transB": int(operator != "Gemm")})]
    else:
        last = [("MatMul", ["signs", "w"], ["p"], {}), ("Add", ["p", "b"], ["y"], {})]
    net = program({"x": (None, 70)}, [*CHOICE, *last], ["y"], {"w": held, "b": bias, **SCALARS})
    engine = Engine(net, isa=isa, threads=2)
    np.testing.assert_array_equal(engine(x), wanted)
    assert [step.kernel for step in engine.explain(x)] == [f"xnor/{isa}"]


def test_what_follows_is_part_of_the_step():
    x, w = given(2, 8, 6, 6), binary(6, 8, 8, 3, 3)
    operations = [*CHOICE, ("Conv", ["signs", "w"], ["c"], {"pads": (1, 1, 1, 1)}), ("Add", ["c", "r"], ["s"], {}),
                  ("Relu", ["s"], ["y"], {})]  # fmt: skip
    net = program({"x": (2, 8, 6, 6), "r": (2, 8, 6, 6)}, operations, ["y"], {"w": w, **SCALARS})
    residual = np.round(floats(7, 2, 8, 6, 6) * 16) / np.float32(16)
    engine = Engine(net)
    wanted = convolved(x, w, np.zeros(8, np.float32), {"pads": (1, 1, 1, 1)}) + residual
    np.testing.assert_array_equal(engine(x, residual), np.maximum(wanted, 0))
    assert [step.operator for step in engine.explain()] == ["gossamer.SignConv+Add+Relu"]


def test_thresholds_magnitudes_and_strict_comparison():
    x = np.float32([[0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.2, 0.7]])
    operations = [
        ("Greater", ["x", "zero"], ["positive"], {}),
        CHOICE[1],
        ("MatMul", ["signs", "w"], ["y"], {}),
    ]
    scalars = {"zero": np.float32([0.5]), "one": np.float32(-0.25), "minus": np.float32(0.25)}
    net = program({"x": (1, 4)}, operations, ["y"], {"w": np.float32([[2], [-2], [2], [2]]), **scalars})
    engine = Engine(net)
    np.testing.assert_array_equal(engine(x), [[0.5 + 0.5 + 0.5 - 0.5]])
    assert [step.kernel.split("/")[0] for step in engine.explain()] == ["xnor"]


@pytest.mark.parametrize("why", ["three values", "unequal", "not opposite", "groups", "threshold by channel"])
def test_other_networks_are_computed_as_written(why):
    w, x = binary(8, 4, 2 if why == "groups" else 4, 1, 1), given(1, 4, 3, 3)
    x[np.isnan(x)] = 1.0
    constants = {"w": w, **SCALARS}
    if why == "three values":
        w[1, 2] = 0
    if why == "unequal":
        w[1, 1] *= 2
    if why == "not opposite":
        constants["minus"] = np.float32(0)
    if why == "threshold by channel":
        constants["zero"] = np.zeros((4, 1, 1), np.float32)
    last = ("Conv", ["signs", "w"], ["y"], {"group": 2 if why == "groups" else 1})
    engine = Engine(program({"x": (1, 4, 3, 3)}, [*CHOICE, last], ["y"], constants))
    low = constants["minus"]
    signs = torch.from_numpy(np.where(x >= 0, np.float32(1), low))
    wanted = torch.nn.functional.conv2d(
        signs, torch.from_numpy(w), groups=2 if why == "groups" else 1
    ).numpy()
    np.testing.assert_allclose(engine(x), wanted, rtol=1e-6)
    assert not any(step.kernel.startswith("xnor") for step in engine.explain())
