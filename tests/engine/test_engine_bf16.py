"""Engine(precision="bf16"): equation (19) of docs/numerics.md, and what it leaves in float32."""

from __future__ import annotations

import numpy as np
import pytest
from engine_programs import floats, program

from gossamer import Engine, _native
from gossamer.errors import InputError

ISAS = _native.machine_isas()
UNIT = 2.0**-7 + 2.0**-16 + 2.0**-16  # both factors' rounding, and more than sums in float32 err

LINEAR = {"x": (None, 33)}, {"w": floats(1, 33, 50), "b": floats(2, 50)}
CONV = {"x": (None, 19, 9, 11)}, {"w": floats(1, 40, 19, 1, 1), "b": floats(2, 40)}
CASES = {
    "matmul": (*LINEAR, [("MatMul", ["x", "w"], ["m"], {}), ("Add", ["m", "b"], ["y"], {})]),
    "gemm": (*LINEAR, [("Gemm", ["x", "w", "b"], ["y"], {"alpha": 0.5})]),
    "conv": (*CONV, [("Conv", ["x", "w", "b"], ["c"], {}), ("Relu", ["c"], ["y"], {})]),
}


def magnitudes(name, x, constants):
    """The sums of the products' magnitudes, and those of the exact sums."""
    w, b = constants["w"].astype(float), constants["b"].astype(float)
    if name == "conv":
        w, b = w[:, :, 0, 0].T, b
        x = np.moveaxis(x, 1, -1)
    scale = 0.5 if name == "gemm" else 1.0
    exact, magnitude = (
        scale * (x.astype(float) @ w) + b,
        scale * np.abs(x).astype(float) @ np.abs(w) + np.abs(b),
    )
    if name == "conv":
        exact, magnitude = np.maximum(np.moveaxis(exact, -1, 1), 0), np.moveaxis(magnitude, -1, 1)
    return exact, magnitude


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 17])
def test_bf16(name, isa, batch):
    inputs, constants, operations = CASES[name]
    network = program(inputs, operations, ["y"], constants)
    engine = Engine(network, isa=isa, threads=2, precision="bf16")
    x = floats(3, batch, *inputs["x"][1:])
    exact, magnitude = magnitudes(name, x, constants)
    got = engine(x)
    assert (np.abs(got - exact) <= UNIT * magnitude).all()
    assert np.abs(got - exact).max() > 1e-4  # it is not float32 that was computed
    step = engine.explain(x)[0]
    assert step.kernel == f"bf16/{isa}"
    if isa != "avx512vnni":
        assert "widened" in step.note


@pytest.mark.parametrize(
    ("operator", "attributes", "constant", "reason"),
    [
        ("Gemm", {"transA": 1}, True, "transposed"),
        ("Gemm", {}, False, "constant"),
        ("MatMul", {}, False, "constant"),
    ],
)
def test_a_product_that_stays_in_float32_says_why(operator, attributes, constant, reason):
    x, w = floats(1, 8, 8), floats(2, 8, 8)
    inputs = {"x": (8, 8)} if constant else {"x": (8, 8), "w": (8, 8)}
    network = program(
        inputs, [(operator, ["x", "w"], ["y"], attributes)], ["y"], {"w": w} if constant else {}
    )
    engine, given = Engine(network, precision="bf16"), {"x": x} if constant else {"x": x, "w": w}
    np.testing.assert_allclose(engine(given), (x.T if attributes else x) @ w, rtol=1e-5, atol=1e-5)
    (step,) = engine.explain(given)
    assert "float32: bfloat16" in step.note and reason in step.note


def test_what_bf16_leaves_in_float32_says_so():
    inputs, constants = {"x": (1, 8, 9, 9)}, {"w": floats(1, 8, 8, 3, 3)}
    operations = [("Conv", ["x", "w"], ["y"], {"pads": (1, 1, 1, 1)})]
    network, x = program(inputs, operations, ["y"], constants), floats(2, 1, 8, 9, 9)
    engine = Engine(network, precision="bf16")
    assert "float32" in engine.explain()[0].note
    np.testing.assert_array_equal(engine(x), Engine(network)(x))


def test_another_precision_is_an_error():
    inputs, constants, operations = CASES["gemm"]
    with pytest.raises(InputError, match="'fp8'.*'bf16'"):
        Engine(program(inputs, operations, ["y"], constants), precision="fp8")
