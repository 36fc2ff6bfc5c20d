"""The ONNX standard's own node tests of every operator that the engine has: right, or refused by name at load."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import gossamer.onnx.backend as backend
from gossamer import _native
from gossamer.artifact import onnx_reader
from gossamer.engine import Engine, operators
from gossamer.errors import InputError, UnsupportedError
from gossamer.weights import Dense

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import operators_page

ISAS = _native.machine_isas()
# Operators that no node test of the standard runs in a way that can be compared: a test below does.
UNTESTED = {"Constant", "Dropout", "GlobalLpPool", "Scatter", "Upsample"}


@cache
def cases():
    return operators_page.cases()


@cache
def surveyed(isa):
    return operators_page.survey(cases(), isa=isa)


@pytest.mark.parametrize("isa", [ISAS[0], ISAS[-1]])
def test_every_case_is_right_or_refused_for_a_known_reason(isa):
    rows, refused = surveyed(isa)
    assert sum(row.right for row in rows.values()) > 1100
    assert len(refused) < 250
    never = {op for op in operators() if rows[op].right == 0}
    assert never <= UNTESTED, never
    assert len(operators()) - len(never) >= 140


def test_the_page_is_up_to_date():
    assert operators_page.PAGE.read_text() == operators_page.page(*surveyed(ISAS[-1])), (
        "run scripts/operators_page.py"
    )


def test_parameters_that_are_constants():
    """The same with all inputs but the first in the place of weights."""
    right = 0
    for case in cases():
        if case.name in surveyed(ISAS[-1])[1] or not set(operators_page.used(case.model.graph)) <= set(
            operators()
        ):
            continue
        try:
            program = onnx_reader.parse(case.model.SerializeToString())
        except UnsupportedError:
            continue
        given, wanted = ([operators_page.array(value) for value in values] for values in case.data_sets[0])
        if len(given) < 2 or any(entry.domain for entry in case.model.opset_import):
            continue
        baked = {port.name: Dense(array) for port, array in zip(program.inputs[1:], given[1:], strict=True)}
        engine = Engine(replace(program, inputs=program.inputs[:1], weights={**program.weights, **baked}))
        outputs = engine(given[0])
        for got, expected in zip(
            outputs.values() if isinstance(outputs, dict) else [outputs], wanted, strict=True
        ):
            rtol = operators_page.relative_error(case, expected)
            np.testing.assert_allclose(got, expected, rtol, max(case.atol, 1e-6), err_msg=case.name)
        right += 1
    assert right > 600


IMAGE = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("opset", "op", "inputs", "attributes"),
    [
        (17, "GlobalLpPool", [IMAGE], {"p": 3}),
        (9, "Upsample", [IMAGE, np.float32([1, 1, 2, 3])], {"mode": "nearest"}),
        (9, "Upsample", [IMAGE, np.float32([1, 1, 2, 2])], {"mode": "linear"}),
        (10, "Scatter", [IMAGE[0, 0], np.array([[0, 3, 1]]), np.float32([[7, 8, 9]])], {"axis": 0}),
        (13, "Dropout", [IMAGE], {}),
        (13, "AveragePool", [IMAGE], {"kernel_shape": [9, 7], "strides": [9, 7], "ceil_mode": 1}),
        (13, "MaxPool", [IMAGE], {"kernel_shape": [9, 3], "strides": [9, 2], "ceil_mode": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operators_without_a_node_test(opset, op, inputs, attributes):
    names = ["x", "second", "third"][: len(inputs)]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        op,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs[0].shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in zip(names[1:], inputs[1:], strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": inputs[0]})[0]
    np.testing.assert_allclose(backend.run(model, inputs[:1])[0], wanted, rtol=1e-5, atol=1e-6)


def test_the_backend_interface():
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "add",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    a, b = np.float32([1, 2]), np.float32([3, 5])
    np.testing.assert_array_equal(backend.run(model, [a, b])[0], a + b)
    np.testing.assert_array_equal(backend.prepare(model, "CPU:0").run({"a": a, "b": b}).y, a + b)
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA")
    with pytest.raises(InputError, match="device 'CUDA'"):
        backend.prepare(model, "CUDA")
    model.graph.node[0].op_type = "NoSuchOperator"
    assert not backend.is_compatible(model)
