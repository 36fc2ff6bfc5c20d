"""Quantization beside operators that only move elements: bytes are moved, functions of them are tables."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from gossamer import _native
from gossamer.engine import Engine
from gossamer.onnx import load

ISAS = _native.machine_isas()
UNSIGNED, SIGNED = np.uint8, np.int8


class Graph:
    """Nodes one after the other, each reading what the one before it wrote."""

    def __init__(self, byte) -> None:
        self.byte, self.nodes, self.constants, self.value = byte, [], {}, "x"

    def constant(self, array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def add(self, op, *others, **attributes) -> Graph:
        read = [self.value, *(self.constant(other) for other in others)]
        self.value = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, read, [self.value], **attributes))
        return self

    def quantize(self, scale, zero=3) -> Graph:
        parameters = np.float32(scale), self.byte(zero)
        return self.add("QuantizeLinear", *parameters).add("DequantizeLinear", *parameters)

    def product(self, depth, width) -> Graph:
        weights = np.random.default_rng(depth).integers(-127, 128, (depth, width), np.int8)
        name = f"w{len(self.nodes)}"
        parts = [self.constant(weights), self.constant(np.float32(0.01)), self.constant(np.int8(0))]
        self.nodes.append(helper.make_node("DequantizeLinear", parts, [name]))
        read, self.value = self.value, f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node("MatMul", [read, name], [self.value]))
        return self

    def model(self, shape) -> bytes:
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(self.value, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
        model.ir_version = 9
        return model.SerializeToString()


def gelu(g):
    g.product(16, 24).quantize(0.05).add("Reshape", [1, 5, 24]).add("Gelu")
    return g.add("Reshape", [5, 24]).quantize(0.03).product(24, 8)


def turned(g):
    return (
        g.quantize(0.04).add("Transpose", perm=[1, 0]).add("Reshape", [4, 4, 5]).add("Tanh")
        .add("Transpose", perm=[2, 1, 0]).add("Reshape", [5, 16]).quantize(0.01).product(16, 8)
    )  # fmt: skip


def normalized(g):
    g.add("LayerNormalization", np.ones(16, np.float32), np.zeros(16, np.float32))
    return (
        g.add("Reshape", [1, 5, 16]).add("Unsqueeze", [0]).quantize(0.02).add("Squeeze", [0]).product(16, 8)
    )


def requantized(g):
    return g.quantize(0.04).add("Reshape", [10, 8]).quantize(0.07, 5).add("Sigmoid").quantize(1 / 255, 0)


def clipped(g):
    g.quantize(0.04).add("Transpose", perm=[1, 0]).add("Relu").quantize(0.03)
    return g.add("Mul", np.float32(-0.7)).quantize(0.05)


CASES = {
    "gelu": (gelu, {"gossamer.MatMul", "gossamer.Lookup", "DequantizeLinear", "QuantizeLinear"}),
    "turned": (
        turned,
        {"Transpose", "gossamer.Lookup", "gossamer.MatMul", "DequantizeLinear", "QuantizeLinear"},
    ),
    "normalized": (
        normalized,
        {"DequantizeLinear", "LayerNormalization", "QuantizeLinear", "gossamer.MatMul"},
    ),
    "requantized": (requantized, None),
    "clipped": (clipped, None),
}


@pytest.mark.parametrize("byte", [UNSIGNED, SIGNED])
@pytest.mark.parametrize("case", CASES)
def test_moved_quantization_is_what_the_file_says(case, byte):
    build, operators = CASES[case]
    data = build(Graph(byte).quantize(0.03)).model([5, 16])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((5, 16)).astype(np.float32) * 3
    wanted = session.run(None, {"x": x})[0]
    for isa in ISAS:
        engine = Engine(load(onnx.load_from_string(data)), isa=isa)
        got = engine(x)
        assert got.shape == wanted.shape
        # One step of the output; of one input times the largest weight, where a product is last.
        step = np.diff(np.unique(wanted)).min() if operators is None else 0.03 * 1.27
        assert np.abs(got - wanted).max() < 1.01 * step
        assert (np.abs(got - wanted) > 1e-4).mean() < 0.25
    used = {row.operator for row in engine.explain(x)}
    assert operators is None or used <= operators | {"gossamer.Flip"}, used


def test_what_is_also_read_elsewhere_stays():
    """A moved tensor that is an output, too, is still there, and equal."""
    g = Graph(UNSIGNED).quantize(0.03).add("Reshape", [8, 10])
    kept = g.value
    data = onnx.load_from_string(g.quantize(0.05).model([5, 16]))
    data.graph.output.append(helper.make_tensor_value_info(kept, TensorProto.FLOAT, None))
    x = np.random.default_rng(2).standard_normal((5, 16)).astype(np.float32)
    session = onnxruntime.InferenceSession(data.SerializeToString(), providers=["CPUExecutionProvider"])
    engine = Engine(load(data))
    for got, wanted in zip(engine(x).values(), session.run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(got, wanted)
