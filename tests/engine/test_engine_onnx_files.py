"""ONNX files without the onnx package: the official importer's Program; a broken file is an error."""

from __future__ import annotations

import random
import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

import gossamer.onnx
from gossamer.artifact import onnx_reader, same
from gossamer.engine import Engine
from gossamer.errors import FormatError, GossamerError, UnsupportedError


def model(**changes) -> onnx.ModelProto:
    """A function, a constant, a bias stored as numbers: a little of everything that the reader reads."""
    double = helper.make_function(
        "my",
        "Scaled",
        ["a"],
        ["b"],
        [_referring("LeakyRelu", ["a"], ["c"], "alpha"), helper.make_node("Add", ["c", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
        ["alpha"],
    )
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1, name="fc"),
        helper.make_node("Scaled", ["y"], ["z"], domain="my", alpha=0.5),
        helper.make_node("Scaled", ["z"], ["u"], domain="my", alpha=0.25),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.int64([-1, 3]), "")),
        helper.make_node("Reshape", ["u", "c"], ["o"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w"),
            helper.make_tensor("b", TensorProto.FLOAT, [3], [1, 2, -30]),
        ],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("my", 1)]
    return helper.make_model(graph, functions=[double], opset_imports=opsets, ir_version=10)


def _referring(op: str, inputs: list[str], outputs: list[str], attribute: str) -> onnx.NodeProto:
    node = helper.make_node(op, inputs, outputs)
    node.attribute.append(
        onnx.AttributeProto(name=attribute, ref_attr_name=attribute, type=onnx.AttributeProto.FLOAT)
    )
    return node


def test_an_engine_runs_the_file(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model().SerializeToString())
    x = np.float32([[1, 2], [3, 4]])
    wanted = x @ np.arange(6, dtype=np.float32).reshape(3, 2).T + np.float32([1, 2, -30])
    for slope in (0.5, 0.25):
        wanted = wanted + np.where(wanted < 0, slope * wanted, wanted)
    np.testing.assert_allclose(Engine(path)(x), wanted, rtol=1e-6)


def test_weights_that_lie_beside_the_model(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(model(), path, save_as_external_data=True, size_threshold=0)
    x = np.float32([[1, 2]])
    np.testing.assert_array_equal(Engine(path)(x), Engine(onnx_reader.parse(model().SerializeToString()))(x))
    next(tmp_path.glob("*-*-*")).unlink()
    with pytest.raises(FormatError, match="is missing beside the model"):
        Engine(path)


@pytest.mark.parametrize(("kind", "low"), [(TensorProto.INT4, -8), (TensorProto.UINT4, 0)])
def test_weights_of_four_bits(kind, low):
    """Blocks of 4 along the first dimension, each with its own scale."""
    random = np.random.default_rng(kind)
    ints, zero = random.integers(low, low + 16, (8, 3)), random.integers(low, low + 16, (2, 3))
    scale = random.uniform(0.1, 1, (2, 3)).astype(np.float32)
    weights = [
        helper.make_tensor("q", kind, ints.shape, ints.ravel()),
        helper.make_tensor("z", kind, zero.shape, zero.ravel()),
        numpy_helper.from_array(scale, "s"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0, block_size=4),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", ports[:1], ports[1:], weights),
        opset_imports=[helper.make_opsetid("", 21)],
    )
    x = random.standard_normal((5, 8)).astype(np.float32)
    wanted = x @ ((ints - np.repeat(zero, 4, axis=0)) * np.repeat(scale, 4, axis=0)).astype(np.float32)
    np.testing.assert_allclose(
        Engine(onnx_reader.parse(proto.SerializeToString()))(x), wanted, rtol=1e-5, atol=1e-5
    )
    proto.graph.node[0].op_type = "Identity"
    with pytest.raises(UnsupportedError, match="4-bit integers: only DequantizeLinear may"):
        onnx_reader.parse(proto.SerializeToString())


def test_external_data_does_not_leave_the_folder(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(24))
    outside = model()
    tensor = outside.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "net.onnx"
    path.write_bytes(outside.SerializeToString())
    with pytest.raises(FormatError, match="outside the model's folder"):
        Engine(path)


def test_the_program_is_the_official_importers():
    """Every node test of the standard, apart from metadata, which changes no result."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    compared = 0
    for case in cases:
        try:
            ours = onnx_reader.parse(case.model.SerializeToString())
            theirs = gossamer.onnx.load(case.model)
        except UnsupportedError:
            continue
        if case.model.functions or {"SplitToSequence"} & {node.op_type for node in case.model.graph.node}:
            continue
        assert same(ours, _without_metadata(theirs)), case.name
        compared += 1
    assert compared > 1000


def _without_metadata(program):
    return type(program)(program.inputs, program.outputs, program.operations, program.weights, program.opsets)


def outcome(data: bytes) -> str:
    """Anything but these fails the test that asks."""
    try:
        onnx_reader.parse(data)
    except GossamerError as error:
        return type(error).__name__
    return "valid"


def test_every_truncation():
    data = model().SerializeToString()
    assert outcome(data) == "valid"
    found = Counter(outcome(data[:end]) for end in range(len(data)))
    assert set(found) <= {"valid", "FormatError", "UnsupportedError"}
    assert found["FormatError"] > 0.8 * len(data)


@pytest.mark.parametrize("seed", range(4))
def test_random_damage(seed):
    source = random.Random(seed)
    data = model().SerializeToString()
    found = set()
    for _ in range(1000):
        damaged = bytearray(data)
        for _ in range(source.randint(1, 4)):
            damaged[source.randrange(len(data))] = source.choice([0, 127, 128, 255, source.randrange(256)])
        found.add(outcome(bytes(damaged)))
    assert found <= {"valid", "FormatError", "UnsupportedError"} and "FormatError" in found


def test_a_function_that_calls_itself_is_refused():
    circle = model()
    circle.functions[0].node.append(helper.make_node("Scaled", ["b"], ["d"], domain="my"))
    with pytest.raises(FormatError, match="in a circle"):
        onnx_reader.parse(circle.SerializeToString())


def test_a_file_runs_without_onnx_and_torch(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model().SerializeToString())
    program = (
        f"import sys, numpy, gossamer; gossamer.Engine({str(path)!r})(numpy.ones((1, 2), 'float32')); "
        "assert not {'torch', 'onnx', 'google.protobuf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
