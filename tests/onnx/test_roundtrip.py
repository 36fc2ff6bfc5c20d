"""Program -> ONNX -> Program is the identity, and any runtime can run the file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from onnx import TensorProto, helper, numpy_helper
from onnx_helpers import WEIGHTS, assert_equal_bits, assert_same, run_ort

import gossamer.onnx as gossamer_onnx
from gossamer.artifact.program import Operation, Port, Program
from gossamer.errors import SaveError, UnsupportedError
from gossamer.graph.journal import record
from gossamer.weights import Codebook, Dense, Sparse, Weight, decode, equal, shape, sparsify

assert len(WEIGHTS) > 20


def product(weight: Weight, opset: int = 21) -> Program:
    """x @ W for a batch of any size."""
    rows, columns = shape(weight)
    return Program(
        inputs=(Port("x", "float32", ("batch", rows)),),
        outputs=(Port("y", "float32", ("batch", columns)),),
        operations=(Operation("MatMul", ("x", "fc.weight"), ("y",), {}, "fc"),),
        weights={"fc.weight": weight},
        opsets={"": opset},
        metadata={"classes": "zero,one"},
    )


@pytest.mark.parametrize("opset", [9, 12, 13, 21])
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_a_program_comes_back_as_it_was(weight, opset):
    program = product(weight, opset)
    with record() as notes:
        assert_same(gossamer_onnx.load(gossamer_onnx.to_onnx(program)), program)
    assert notes == []


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_onnx_runtime_computes_with_the_decoded_weight(weight):
    x = np.random.default_rng(3).standard_normal((2, shape(weight)[0])).astype(np.float32)
    values = decode(weight).astype(np.float32)
    with np.errstate(all="ignore"):
        (y,) = run_ort(gossamer_onnx.to_onnx(product(weight)), {"x": x})
        np.testing.assert_allclose(y, x @ values, rtol=1e-5, atol=1e-5 * np.nanmax(np.abs(values), initial=1))


def test_quantization_is_written_down_as_qdq():
    model = gossamer_onnx.to_onnx(product(WEIGHTS["quantized int8 per row"]))
    assert [node.op_type for node in model.graph.node] == ["DequantizeLinear", "MatMul"]
    assert [tensor.data_type for tensor in model.graph.initializer] == [
        TensorProto.INT8,
        TensorProto.FLOAT,
        TensorProto.INT8,
    ]


_finite = st.floats(-1e6, 1e6, width=32)


@given(npst.arrays(np.float32, (3, 4), elements=_finite), npst.arrays(np.bool_, (3, 4)), st.data())
@settings(max_examples=60, deadline=None)
def test_any_nested_weight_comes_back(values, keep, data):
    assignment = data.draw(npst.arrays(np.int64, (3, 4), elements=st.integers(0, 4)))
    for weight in (Dense(values), Codebook.of(assignment, values.reshape(-1)[:5])):
        for nested in (weight, sparsify(weight, keep)):
            assert_same(gossamer_onnx.load(gossamer_onnx.to_onnx(product(nested))), product(nested))


def test_same_program_same_bytes_in_every_process(tmp_path):
    program = product(WEIGHTS["sparse codebook"])
    gossamer_onnx.save(program, tmp_path / "a.onnx")
    gossamer_onnx.save(gossamer_onnx.load(tmp_path / "a.onnx"), tmp_path / "b.onnx")
    code = "import sys, gossamer.onnx as o; o.save(o.load(sys.argv[1]), sys.argv[2])"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.onnx", tmp_path / "c.onnx"], check=True, env=environment
    )
    first = (tmp_path / "a.onnx").read_bytes()
    assert first == (tmp_path / "b.onnx").read_bytes() == (tmp_path / "c.onnx").read_bytes()


@pytest.mark.parametrize("name", ["sparse codebook", "codebook of 5", "sparse quantized"])
def test_an_edited_weight_comes_back_dense_with_a_note(name):
    model = gossamer_onnx.to_onnx(product(WEIGHTS[name]))
    (tensor,) = model.graph.initializer
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0] += 1
    tensor.raw_data = values.tobytes()
    with record() as notes:
        weight = gossamer_onnx.load(model).weights["fc.weight"]
    assert equal(weight, Dense(values))
    assert [note.subject for note in notes] == ["fc.weight"]
    assert "kept dense" in notes[0].message


@pytest.mark.parametrize(
    "forge",
    [
        lambda tag: "",
        lambda tag: "[]",
        lambda tag: "[" * 100_000,
        lambda tag: tag.replace("codebook", "quantized"),
        lambda tag: tag.replace("codebook", "unknown"),
        lambda tag: json.dumps({**json.loads(tag), "weight": 3}),
        lambda tag: json.dumps({**json.loads(tag), "crc32": "x"}),
        lambda tag: json.dumps({**json.loads(tag), "weight": {"is": "sparse", "values": {"is": "sparse"}}}),
    ],
)
def test_a_forged_tag_changes_no_value(forge):
    weight = WEIGHTS["sparse codebook"]
    model = gossamer_onnx.to_onnx(product(weight))
    (entry,) = model.graph.initializer[0].metadata_props
    entry.value = forge(entry.value)
    loaded = gossamer_onnx.load(model).weights["fc.weight"]
    np.testing.assert_array_equal(decode(loaded), decode(weight))
    assert isinstance(loaded, Dense)


def test_edited_integers_stay_qdq():
    model = gossamer_onnx.to_onnx(product(WEIGHTS["quantized 4 bits"]))
    ints = model.graph.initializer[0]
    ints.raw_data = bytes([255]) + ints.raw_data[1:]
    with record() as notes:
        program = gossamer_onnx.load(model)
    assert [operation.op for operation in program.operations] == ["DequantizeLinear", "MatMul"]
    assert len(notes) == 1


def test_attributes_ports_and_metadata_come_back():
    attributes = {
        "i": -(2**63),
        "f": float(np.float32(0.1)),
        "nan": float("nan"),
        "s": "käse",
        "ints": (1, -2),
        "floats": (0.5, -0.0),
        "strings": ("a", ""),
        "tensor": np.arange(6, dtype=np.float16).reshape(2, 3),
        "scalar": np.array(7, np.uint64),
        "none": (),
    }
    program = Program(
        inputs=(Port("x", "float64", ("n", None, 3, 0)), Port("y", "bool", None), Port("z", "int8", ())),
        outputs=(Port("u", "bfloat16", (None,)), Port("x", "float64", ("n", None, 3, 0))),
        operations=(Operation("Mine", ("x", "", "y"), ("u", "", "v"), attributes, "node", "org.example"),),
        weights={"unused": Dense(np.array([1, 2], np.int16))},
        opsets={"": 18, "org.example": 3},
        metadata={"a": "", "onnx.producer_name": "p", "onnx.model_version": "-7", "onnx.graph": "g"},
    )
    assert_same(gossamer_onnx.load(gossamer_onnx.to_onnx(program)), program)


def test_an_empty_list_has_the_type_of_the_schema():
    operation = Operation(
        "LabelEncoder", ("x",), ("y",), {"keys_floats": (), "values_int64s": ()}, "", "ai.onnx.ml"
    )
    program = Program(
        (Port("x", "float32", (1,)),),
        (Port("y", "int64", (1,)),),
        (operation,),
        {},
        {"": 18, "ai.onnx.ml": 4},
    )
    node = gossamer_onnx.to_onnx(program).graph.node[0]
    kinds = {item.name: onnx.AttributeProto.AttributeType.Name(item.type) for item in node.attribute}
    assert kinds == {"keys_floats": "FLOATS", "values_int64s": "INTS"}


def test_names_that_quantization_adds_avoid_those_that_are_there():
    weight = WEIGHTS["quantized int8"]
    program = product(weight)
    taken = {
        "fc.weight.ints": Dense(np.zeros(1, np.float32)),
        "fc.weight.scale": Dense(np.zeros(1, np.float32)),
    }
    program = Program(
        program.inputs, program.outputs, program.operations, {**taken, "fc.weight": weight}, {"": 21}
    )
    assert_same(gossamer_onnx.load(gossamer_onnx.to_onnx(program)), program)


def test_saving_keeps_the_old_file_where_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError, match=r"net\.onnx could not be written \(No space left"):
        gossamer_onnx.save(product(WEIGHTS["dense"]), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_saved_files_have_the_usual_permissions(tmp_path):
    gossamer_onnx.save(product(WEIGHTS["dense"]), tmp_path / "net.onnx")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "net.onnx").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_a_dtype_that_onnx_lacks_is_refused_by_name():
    program = Program((Port("x", "longdouble", (1,)),), (Port("x", "longdouble", (1,)),), (), {}, {"": 18})
    with pytest.raises(UnsupportedError, match="'longdouble'"):
        gossamer_onnx.to_onnx(program)


def affine(**graph: object) -> onnx.ModelProto:
    """y = x + w, as other tools write it."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            "affine",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
            **graph,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


BIAS = np.array([0, 2, 0], np.float32)


def bias() -> onnx.TensorProto:
    return numpy_helper.from_array(BIAS, "w")


def test_initializers_that_are_inputs_too_become_weights_with_a_note():
    model = affine(initializer=[bias()])
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    with record() as notes:
        program = gossamer_onnx.load(model)
    assert [port.name for port in program.inputs] == ["x"]
    assert "cannot be overridden" in notes[0].message
    model.ir_version = 3  # where the standard asks for it
    with record() as notes:
        assert_same(gossamer_onnx.load(model), program)
    assert notes == []


@pytest.mark.parametrize("flat", [True, False])
def test_sparse_initializers_become_sparse_weights(flat):
    values = numpy_helper.from_array(np.array([2, 0], np.float32), "w")
    indices = np.array([1, 2], np.int64) if flat else np.array([[1], [2]], np.int64)
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices, "i"), [3])
    program = gossamer_onnx.load(affine(sparse_initializer=[sparse]))
    assert equal(program.weights["w"], Sparse.from_dense(BIAS))
    assert_same(gossamer_onnx.load(gossamer_onnx.to_onnx(program)), program)


@pytest.mark.parametrize(
    ("attribute", "weight"),
    [
        ({"value": bias()}, Dense(BIAS)),
        ({"value_floats": [0.0, 2.0, 0.0]}, Dense(BIAS)),
        ({"value_float": 2.0}, Dense(np.array(2, np.float32))),
        ({"value_int": 2}, Dense(np.array(2, np.int64))),
        ({"value_ints": [1, 2]}, Dense(np.array([1, 2], np.int64))),
    ],
    ids=lambda item: next(iter(item)) if isinstance(item, dict) else "",
)
def test_constants_become_weights(attribute, weight):
    model = affine()
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], **attribute))
    program = gossamer_onnx.load(model)
    assert [operation.op for operation in program.operations] == ["Add"]
    assert equal(program.weights["w"], weight)


def test_functions_are_written_out_in_place():
    body = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Relu", ["s"], ["r"])]
    opset = [helper.make_opsetid("", 18)]
    model = affine(initializer=[bias()])
    model.functions.append(helper.make_function("my", "AddRelu", ["a", "b"], ["r"], body, opset))
    model.opset_import.append(helper.make_opsetid("my", 1))
    model.graph.node[0].op_type, model.graph.node[0].domain = "AddRelu", "my"
    program = gossamer_onnx.load(model)
    assert [operation.op for operation in program.operations] == ["Add", "Relu"]
    x = np.array([[-9, -1, 1]], np.float32)
    assert_equal_bits(run_ort(gossamer_onnx.to_onnx(program), {"x": x}), [np.maximum(x + BIAS, 0)])


def test_external_data_is_read_from_beside_the_model(tmp_path):
    model = affine(initializer=[numpy_helper.from_array(np.arange(3, dtype=np.float32), "w")])
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    program = gossamer_onnx.load(tmp_path / "net.onnx")
    assert equal(program.weights["w"], Dense(np.arange(3, dtype=np.float32)))
    assert_same(gossamer_onnx.load(str(tmp_path / "net.onnx")), program)


def test_what_changes_no_result_is_dropped_with_a_note():
    model = affine(initializer=[bias()])
    model.graph.doc_string = model.graph.node[0].doc_string = "text"
    model.graph.node[0].metadata_props.add(key="k", value="v")
    model.metadata_props.add(key="kept", value="yes")
    model.producer_name = "tests"
    with record() as notes:
        program = gossamer_onnx.load(model)
    assert program.metadata == {"kept": "yes", "onnx.producer_name": "tests", "onnx.graph": "affine"}
    assert [note.message.split(":")[0].split(";")[0] for note in notes] == [
        "documentation strings dropped",
        "metadata of the graph, nodes, inputs and outputs dropped",
    ]


def test_loading_changes_nothing_in_the_model():
    model = affine(initializer=[bias()])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value_int=1))
    before = model.SerializeToString(deterministic=True)
    gossamer_onnx.load(model)
    assert model.SerializeToString(deterministic=True) == before


def test_the_file_is_as_long_as_its_weights(tmp_path: Path):
    """The tag of a representation is small beside the weight."""
    gossamer_onnx.save(product(WEIGHTS["sparse codebook"]), tmp_path / "tagged.onnx")
    gossamer_onnx.save(product(WEIGHTS["dense"]), tmp_path / "plain.onnx")
    extra = (tmp_path / "tagged.onnx").stat().st_size - (tmp_path / "plain.onnx").stat().st_size
    assert 0 < extra < 120
