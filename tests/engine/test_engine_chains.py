"""Functions of elements that follow one another are one step, and compute what they compute apart."""

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


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def network(nodes, given, outputs=("y",), **constants):
    """``nodes``: "Operator: inputs -> output"."""
    made = []
    for node in nodes:
        (op, rest) = node.split(": ")
        (read, written) = rest.split(" -> ")
        made.append(helper.make_node(op, ["" if name == "_" else name for name in read.split()], [written]))
    graph = helper.make_graph(
        made,
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
            for name, value in given.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


def check(model: onnx.ModelProto, given, operators, isa=None, threads=1):
    engine = Engine(load(model), isa=isa, threads=threads)
    got = engine(*given.values())
    got = got if isinstance(got, dict) else {model.graph.output[0].name: got}
    wanted = ReferenceEvaluator(model).run(None, given)
    for output, value in zip(model.graph.output, wanted, strict=True):
        np.testing.assert_allclose(got[output.name], value, rtol=2e-5, atol=2e-6)
    assert [step.operator for step in engine.explain()] == operators


HARD_SWISH = ["Add: x three -> a", "Clip: a zero six -> b", "Mul: x b -> c", "Div: c six -> y"]
BOUNDS = {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}
CHAINS = {
    "swish": (["Sigmoid: x -> a", "Mul: x a -> y"], {}, "Sigmoid+Mul"),
    "hard swish": (HARD_SWISH, BOUNDS, "Add+Clip+Mul+Div"),
    "clamps in a row": (
        ["Add: x x -> a", "Clip: a zero one -> b", "Clip: b three six -> c", "Relu: c -> y"],
        BOUNDS | {"one": np.float32(1)},
        "Add+Clip+Clip+Relu",
    ),
    "one bound": (["Tanh: x -> a", "Clip: a _ zero -> b", "Neg: b -> y"], BOUNDS, "Tanh+Clip+Neg"),
    "operands on either side": (["Exp: x -> a", "Sub: z a -> b", "Div: three b -> y"], BOUNDS, "Exp+Sub+Div"),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", [1, 3, 63, 64, 2048, 2049, 5000])
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_one_step(name, size, isa):
    nodes, constants, operators = CHAINS[name]
    given = {"x": normal(0, size)} | ({"z": normal(1, size) + 9} if "z" in " ".join(nodes) else {})
    check(network(nodes, given, **constants), given, [operators], isa)


NARROW = {  # by the shape of an operand: how many steps (a plane has 77 elements)
    "a number": ((1,), ["Sigmoid+Mul+Relu"]),
    "whole": ((2, 3, 7, 11), ["Sigmoid+Mul+Relu"]),
    "a channel": ((3, 1, 1), ["Sigmoid+Mul+Relu"]),
    "an image": ((2, 1, 1, 1), ["Sigmoid+Mul+Relu"]),
    "a plane": ((7, 11), ["Sigmoid+Mul+Relu"]),
    "a row": ((11,), ["Sigmoid", "Mul+Relu"]),
    "a column": ((7, 1), ["Sigmoid", "Mul+Relu"]),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NARROW)
def test_operands_broadcast(name, threads):
    shape, operators = NARROW[name]
    given = {"x": normal(2, 2, 3, 7, 11)}
    model = network(["Sigmoid: x -> a", "Mul: a w -> b", "Relu: b -> y"], given, w=normal(3, *shape))
    check(model, given, operators, threads=threads)


def test_many_elements_are_shared_among_threads():
    given = {"x": normal(4, 2, 3, 200, 301), "z": normal(5, 3, 1, 1)}
    nodes = ["Sigmoid: x -> a", "Mul: a x -> b", "Add: b z -> y"]
    check(network(nodes, given), given, ["Sigmoid+Mul+Add"], threads=2)


def test_what_another_node_or_the_caller_reads_ends_a_chain():
    given = {"x": normal(6, 500)}
    nodes = ["Tanh: x -> a", "Mul: a x -> b", "Add: b a -> y"]
    check(network(nodes, given), given, ["Tanh", "Mul+Add"])
    check(network(nodes, given, outputs=("y", "b")), given, ["Tanh", "Mul", "Add"])


def test_a_chain_waits_for_nothing_that_comes_later():
    given = {"x": normal(7, 8, 64), "z": normal(8, 64, 64)}
    nodes = ["Exp: x -> a", "MatMul: x z -> p", "Tanh: p -> q", "Mul: a q -> y"]
    check(network(nodes, given), given, ["Exp", "MatMul", "Tanh+Mul"])


def test_a_shape_that_grows_begins_another_chain():
    given = {"x": normal(9, 1, 100), "z": normal(10, 3, 100)}
    check(network(["Tanh: x -> a", "Mul: a z -> b", "Neg: b -> y"], given), given, ["Tanh", "Mul+Neg"])


def test_bounds_that_only_running_tells_stay_apart():
    given = {"x": normal(11, 70), "low": np.float32(-0.5)}
    check(network(["Tanh: x -> a", "Clip: a low -> b", "Neg: b -> y"], given), given, ["Tanh", "Clip", "Neg"])


def test_not_a_number_passes_through():
    x = np.array([np.nan, 1, -1, np.inf] * 20, np.float32)
    model = network(["Add: x three -> a", "Relu: a -> b", "Mul: b three -> y"], {"x": x}, three=np.float32(3))
    np.testing.assert_array_equal(Engine(load(model))(x), np.maximum(x + 3, 0) * 3)
