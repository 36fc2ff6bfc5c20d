"""What transformers are made of is recognized, however it is written, and computes the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from gossamer import _native
from gossamer.engine import Engine
from gossamer.onnx import load

ISAS = _native.machine_isas()
SQRT2, HALF, ONE = np.float32(np.sqrt(2)), np.float32(0.5), np.float32(1)


def network(nodes, inputs, output, **constants):
    """A model of named nodes: each (operator, inputs, output, attributes)."""
    made = [helper.make_node(op, ins.split(), [out], **attributes) for op, ins, out, attributes in nodes]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


def check(model, operators, given, isa, atol=2e-6):
    engine = Engine(load(model), isa=isa)
    got, wanted = engine(*given.values()), ReferenceEvaluator(model).run(None, given)[0]
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=atol)
    assert [step.operator for step in engine.explain()] == operators


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


GELU = {
    "torch": [("Div", "x r", "a", {}), ("Erf", "a", "b", {}), ("Add", "b one", "c", {}), ("Mul", "half c", "d", {}),
              ("Mul", "x d", "y", {})],
    "half last": [("Mul", "x s", "a", {}), ("Erf", "a", "b", {}), ("Add", "one b", "c", {}), ("Mul", "c x", "d", {}),
                  ("Mul", "d half", "y", {})],
    "half first": [("Div", "x r", "a", {}), ("Erf", "a", "b", {}), ("Add", "b one", "c", {}),
                   ("Mul", "x half", "d", {}), ("Mul", "d c", "y", {})],
    "tanh": [("Pow", "x three", "p", {}), ("Mul", "p k", "a", {}), ("Add", "x a", "b", {}), ("Mul", "b w", "c", {}),
             ("Tanh", "c", "d", {}), ("Add", "d one", "e", {}), ("Mul", "half x", "f", {}), ("Mul", "f e", "y", {})],
    "cube by hand": [("Mul", "x x", "q", {}), ("Mul", "q x", "p", {}), ("Mul", "p k", "a", {}), ("Add", "x a", "b", {}),
                     ("Mul", "b w", "c", {}), ("Tanh", "c", "d", {}), ("Add", "d one", "e", {}),
                     ("Mul", "half x", "f", {}), ("Mul", "f e", "y", {})],
}  # fmt: skip
NUMBERS = {
    "r": SQRT2, "s": ONE / SQRT2, "one": ONE, "half": HALF, "three": np.float32(3), "k": np.float32(0.044715),
    "w": np.float32(np.sqrt(2 / np.pi)),
}  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("form", GELU)
def test_gelu(form, isa):
    used = {name for _, inputs, _, _ in GELU[form] for name in inputs.split()}
    model = network(GELU[form], {"x": [3, 5]}, "y", **{k: v for k, v in NUMBERS.items() if k in used})
    check(model, ["Gelu"], {"x": normal(1, 3, 5) * 3}, isa)


def test_what_is_almost_gelu_is_not_taken_for_it():
    model = network(GELU["torch"], {"x": [3, 5]}, "y", **{"r": SQRT2, "one": ONE, "half": np.float32(0.6)})
    engine = Engine(load(model))
    assert "Gelu" not in [step.operator for step in engine.explain()]


NORM = [
    ("ReduceMean", "x axes", "m", {}), ("Sub", "x m", "d", {}), ("Pow", "d two", "q", {}),
    ("ReduceMean", "q axes", "v", {}), ("Add", "v eps", "e", {}),
    ("Sqrt", "e", "s", {}), ("Div", "d s", "n", {}), ("Mul", "n w", "p", {}),
    ("Add", "p b", "y", {}),
]  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("squared", ["Pow", "Mul"])
def test_layer_normalization(isa, squared):
    nodes = [
        ("Mul", "d d", "q", {}) if op == "Pow" and squared == "Mul" else (op, *rest) for op, *rest in NORM
    ]
    constants = {"axes": np.int64([-1]), "eps": np.float32(1e-5), "w": normal(2, 7), "b": normal(3, 7)}
    if squared == "Pow":
        constants["two"] = np.float32(2)
    check(
        network(nodes, {"x": [2, 3, 7]}, "y", **constants),
        ["LayerNormalization"],
        {"x": normal(1, 2, 3, 7)},
        isa,
    )


def attention(mask=None, rounding=False, turned="0231", keeps_heads=False, nan=False, byte=np.uint8):
    """Nodes of attention over (batch, rows, heads x depth), and their constants."""
    nodes, constants = (
        [],
        {"split": np.int64([0, 0, 3, 8]), "joined": np.int64([0, 0, 24]), "root": np.float32(8**0.5)},
    )

    def rounded(name, scale, zero=120):
        if not rounding:
            return name
        constants[f"{name}_s"], constants[f"{name}_z"] = (
            np.float32(scale),
            byte(zero - (128 if byte is np.int8 else 0)),
        )
        nodes.append(("QuantizeLinear", f"{name} {name}_s {name}_z", f"{name}_q", {}))
        nodes.append(("DequantizeLinear", f"{name}_q {name}_s {name}_z", f"{name}_r", {}))
        return f"{name}_r"

    for name in "qkv":
        nodes.append(("Reshape", f"{name} split", f"{name}4", {}))
    nodes.append(("Transpose", "q4", "qt", {"perm": [0, 2, 1, 3]}))
    nodes.append(("Transpose", "v4", "vt", {"perm": [0, 2, 1, 3]}))
    if turned == "0231":
        nodes.append(("Transpose", "k4", "kt", {"perm": [0, 2, 3, 1]}))
    else:
        nodes.append(("Transpose", "k4", "kh", {"perm": [0, 2, 1, 3]}))
        nodes.append(("Transpose", "kh", "kt", {"perm": [0, 1, 3, 2]}))
    q, k, v = rounded("qt", 0.03), rounded("kt", 0.025), rounded("vt", 0.02)
    nodes.append(("MatMul", f"{q} {k}", "s", {}))
    nodes.append(("Div", f"{rounded('s', 0.1)} root", "t", {}))
    if mask is not None:
        constants["mask"] = mask
        nodes.append(("Add", "t mask", "u", {}))
    nodes.append(("Softmax", "u" if mask is not None else "t", "w", {"axis": -1}))
    weights = "w"
    if nan:
        constants["zero"] = np.float32(0)
        nodes += [("IsNaN", "w", "wn", {}), ("Where", "wn zero w", "wz", {})]
        weights = "wz"
    nodes.append(("MatMul", f"{rounded(weights, 1 / 255, 0)} {v}", "o", {}))
    out = rounded("o", 0.02)
    if keeps_heads:
        return [*nodes, ("Identity", out, "y", {})], constants
    nodes += [("Transpose", out, "ot", {"perm": [0, 2, 1, 3]}), ("Reshape", "ot joined", "y", {})]
    return nodes, constants


CAUSAL = np.triu(np.full((40, 40), -np.inf, np.float32), 1)
FORMS = {
    "plain": {},
    "two turns": {"turned": "0213 0132"},
    "causal": {"mask": CAUSAL},
    "padding": {"mask": np.where(np.arange(40) < 31, 0, -1e9).astype(np.float32).reshape(1, 1, 1, 40)},
    "by head": {"mask": normal(9, 2, 3, 40, 40)},
}


def run_attention(isa, rows, **form):
    nodes, constants = attention(**form)
    shape = {name: [2, rows, 24] for name in "qkv"}
    model = network(nodes, shape, "y", **constants)
    given = {name: normal(ord(name), *size) for name, size in shape.items()}
    return model, given, Engine(load(model), isa=isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("form", FORMS)
def test_attention(form, isa):
    model, given, engine = run_attention(isa, 40, **FORMS[form])
    np.testing.assert_allclose(
        engine(*given.values()), ReferenceEvaluator(model).run(None, given)[0], rtol=1e-4, atol=2e-6
    )
    assert [step.operator for step in engine.explain()] == ["gossamer.Attention"]


@pytest.mark.parametrize("rows", [1, 2, 13, 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_attention_of_any_length(rows, threads):
    model, given, engine = run_attention(None, rows)
    assert np.array_equal(engine(*given.values()), Engine(load(model), threads=threads)(*given.values()))
    np.testing.assert_allclose(
        engine(*given.values()), ReferenceEvaluator(model).run(None, given)[0], rtol=1e-4, atol=2e-6
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("byte", [np.uint8, np.int8])
@pytest.mark.parametrize("rows", [1, 7, 40, 131, 1100])
def test_attention_that_rounds_to_bytes(isa, byte, rows):
    """Differences are whole steps of the output's rounding, and rare: sums round differently near a half."""
    masks = [None, CAUSAL[:rows, :rows]] if rows <= 40 else [None]
    for mask in masks:
        model, given, engine = run_attention(isa, rows, rounding=True, byte=byte, mask=mask)
        difference = np.abs(engine(*given.values()) - ReferenceEvaluator(model).run(None, given)[0])
        assert difference.max() < 0.0201 and (difference > 1e-5).mean() < 0.02
        assert [step.operator for step in engine.explain()] == ["gossamer.Attention"]
        assert engine.explain()[0].kernel.startswith("attention of qgemm")


def test_threads_share_attention_of_bytes():
    model, given, engine = run_attention(None, 90, rounding=True)
    assert np.array_equal(engine(*given.values()), Engine(load(model), threads=2)(*given.values()))


def test_attention_without_the_last_transposition():
    model, given, engine = run_attention(None, 17, keeps_heads=True)
    np.testing.assert_allclose(
        engine(*given.values()), ReferenceEvaluator(model).run(None, given)[0], rtol=1e-4, atol=2e-6
    )
    assert engine.explain()[0].operator == "gossamer.Attention"


def test_scores_that_are_an_output_are_computed():
    nodes, constants = attention()
    model = network(nodes, {name: [2, 9, 24] for name in "qkv"}, "y", **constants)
    model.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, None))
    given = {name: normal(ord(name), 2, 9, 24) for name in "qkv"}
    outputs, wanted = Engine(load(model))(*given.values()), ReferenceEvaluator(model).run(None, given)
    for got, array in zip(outputs.values(), wanted, strict=True):
        np.testing.assert_allclose(got, array, rtol=1e-4, atol=2e-6)


def test_shapes_that_do_not_fit_are_an_error():
    nodes, constants = attention(mask=np.zeros((1, 1, 5, 5), np.float32))
    model = network(nodes, {name: [2, 9, 24] for name in "qkv"}, "y", **constants)
    with pytest.raises(Exception, match="attention do not fit"):
        Engine(load(model))(*(normal(1, 2, 9, 24) for _ in "qkv"))


def test_no_file_may_name_an_operator_of_the_engine():
    model = onnx.helper.make_model(
        helper.make_graph(
            [helper.make_node("gossamer.Attention", ["x", "x", "x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    with pytest.raises(Exception, match=r"gossamer\.Attention"):
        Engine(load(model))
