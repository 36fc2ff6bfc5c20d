"""Operators of ONNX files as torch: the standard's node tests, and files of each that become graphs and files again."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import gossamer as gs
from gossamer.errors import UnsupportedError
from gossamer.onnx import load, lower, to_graph
from gossamer.onnx.network import Network
from gossamer.weights import Dense

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import operators_page

SMALL = ("uint16", "uint32", "uint64", "bitwise_not_3d", "FLOAT8")  # torch computes little with them
OTHERWISE = (
    "test_size",
    "same_values",
)  # what is computed of shapes is a list; torch takes any of equal elements


def _is_comparable(case) -> bool:
    """No training, no functions written out (their operators have cases of their own), arrays of usual types."""
    names = ("_expanded", "training", "ai_onnx_ml", "empty_set", *SMALL, *OTHERWISE)
    if any(name in case.name for name in names):
        return False
    values = [value for part in case.data_sets[0] for value in part if value is not None]
    if any(isinstance(value, list) for value in values):  # sequences
        return False
    arrays = [operators_page.array(value) for value in values]
    whole = all(value is not None for value in case.data_sets[0][0])
    return (
        bool(case.data_sets[0][0])
        and whole
        and all(a.dtype.kind in "biuf" and a.dtype.itemsize > 0 for a in arrays)
    )


@cache
def survey() -> tuple[Counter[str], list[str]]:
    """Cases that come out right by operator, and those that do not. All inputs but the first are constants."""
    right: Counter[str] = Counter()
    wrong = []
    for case in operators_page.cases():
        if not _is_comparable(case):
            continue
        given, wanted = ([operators_page.array(value) for value in part] for part in case.data_sets[0])
        try:
            program = load(case.model)
            constants = zip(program.inputs[1:], given[1:], strict=True)
            weights = {**program.weights, **{port.name: Dense(array) for port, array in constants}}
            network = Network(replace(program, inputs=program.inputs[:1], weights=weights)).eval()
            with torch.no_grad():
                outputs = network(torch.from_numpy(np.array(given[0])))
        except UnsupportedError:
            continue
        same = all(
            _is_close(outputs[port.name], array) for port, array in zip(program.outputs, wanted, strict=True)
        )
        for operation in program.operations if same else ():
            right[operation.op] += 1
        wrong += [] if same else [case.name]
    return right, wrong


def _is_close(found: torch.Tensor, wanted: np.ndarray) -> bool:
    values = np.asarray(found)
    return values.shape == wanted.shape and np.allclose(values, wanted, rtol=1e-3, atol=1e-4, equal_nan=True)


def test_node_tests_come_out_right_or_are_refused_by_name():
    right, wrong = survey()
    assert not wrong
    assert len(right) >= 130 and sum(right.values()) >= 800, (len(right), sum(right.values()))


RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 6, 6)).astype(np.float32)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


NONE = np.zeros(0, np.float32)
CASES = [
    # operator, further inputs, attributes, version of the standard
    ("LRN", [], {"size": 5, "alpha": 0.1, "beta": 0.6, "bias": 1.5}, 13),
    ("LRN", [], {"size": 3}, 13),
    ("Softmax", [], {}, 9),
    ("Softmax", [], {"axis": 2}, 11),
    ("LogSoftmax", [], {}, 12),
    ("Hardmax", [], {"axis": 1}, 13),
    ("Hardmax", [], {"axis": 2}, 11),
    ("Softmax", [], {"axis": 1}, 13),
    ("Upsample", [np.float32([1, 1, 2, 3])], {"mode": "nearest"}, 9),
    ("Upsample", [np.float32([1, 1, 2, 2])], {"mode": "linear"}, 9),
    ("Upsample", [], {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "nearest"}, 7),
    ("Resize", [np.float32([1, 1, 2, 2])], {"mode": "linear"}, 10),
    ("Resize", [NONE, np.float32([1, 1, 0.6, 1.7])], {"mode": "linear"}, 13),
    ("Resize", [NONE, np.float32([1, 1, 0.6, 1.7])], {"mode": "nearest"}, 13),
    ("Resize", [NONE, np.float32([1, 1, 2, 2])], {"mode": "cubic", "cubic_coeff_a": -0.5}, 13),
    ("Resize", [NONE, NONE, whole(9, 4)], {"axes": [2, 3], "mode": "cubic"}, 18),
    ("GlobalMaxPool", [], {}, 13),
    ("GlobalLpPool", [], {"p": 3}, 13),
    ("LpPool", [], {"kernel_shape": [2, 2], "p": 2, "strides": [2, 2]}, 13),
    ("AveragePool", [], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}, 13),
    ("AveragePool", [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}, 13),
    ("MaxPool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, 13),
    ("ConvTranspose", [floats(4, 3, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, 13),
    ("ConvTranspose", [floats(4, 3, 3, 3)], {"strides": [2, 2], "pads": [0, 0, 1, 1]}, 13),
    ("ConvTranspose", [floats(4, 3, 3, 3)], {"strides": [2, 2], "output_shape": [12, 12]}, 13),
    ("DepthToSpace", [], {"blocksize": 2, "mode": "DCR"}, 13),
    ("SpaceToDepth", [], {"blocksize": 2}, 13),
    ("Selu", [], {}, 13),
    ("Celu", [], {"alpha": 2.0}, 13),
    ("Softsign", [], {}, 13),
    ("ThresholdedRelu", [], {"alpha": 0.5}, 13),
    ("Shrink", [], {"lambd": 0.4, "bias": 0.1}, 13),
    ("Atan", [], {}, 13),
    ("Mean", [floats(1, 4, 1, 1)], {}, 13),
    ("Mod", [np.float32([0.7])], {"fmod": 1}, 13),
    ("CumSum", [whole(2)], {"exclusive": 1, "reverse": 1}, 13),
    ("ReduceL1", [], {"axes": [2, 3]}, 13),
    ("ReduceSumSquare", [], {"axes": [1], "keepdims": 0}, 13),
    ("ReduceLogSumExp", [], {"axes": [2]}, 13),
    ("ReduceProd", [], {"axes": [3]}, 13),
    ("ArgMin", [], {"axis": 1}, 13),
    ("TopK", [whole(2)], {"axis": 1}, 13),
    ("LpNormalization", [], {"axis": 1}, 13),
    ("MeanVarianceNormalization", [], {"axes": [2, 3]}, 13),
    ("InstanceNormalization", [floats(4), floats(4)], {}, 13),
    ("Trilu", [], {"upper": 0}, 14),
    ("Gather", [whole(0, -1, 2)], {"axis": 1}, 13),
    ("GatherElements", [np.zeros((1, 4, 6, 6), np.int64)], {"axis": 0}, 13),
    ("Slice", [whole(-1), whole(-100), whole(3), whole(-2)], {}, 13),
    ("Pad", [whole(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "reflect"}, 13),
    ("Pad", [whole(0, 1, 0, 2, 0, 0, 0, 1), np.float32(3)], {}, 13),
    ("Flatten", [], {"axis": 2}, 13),
    ("Clip", [], {}, 13),
]


@pytest.mark.parametrize(
    ("op", "others", "attributes", "opset"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)]
)
def test_a_file_of_one_operator_becomes_a_graph_and_a_file_again(op, others, attributes, opset):
    names = ["x", *(f"c{i}" if array is not NONE else "" for i, array in enumerate(others))]
    outputs = ["y", "z"] if op == "TopK" else ["y"]
    constants = [(name, array) for name, array in zip(names[1:], others, strict=True) if name]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node(op, ["h", *names[1:]], outputs, **attributes),
    ]
    weights = [("w", floats(4, 4, 1, 1)), *constants]
    graph = helper.make_graph(
        nodes, op, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *X.shape[1:]])],
        [helper.make_empty_tensor_value_info("y")], [numpy_helper.from_array(a, name) for name, a in weights],
    )  # fmt: skip
    graph.output[0].type.tensor_type.elem_type = TensorProto.INT64 if op == "ArgMin" else TensorProto.FLOAT
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": X})[0]
    ours = to_graph(load(model), [torch.from_numpy(X)])
    np.testing.assert_allclose(ours(torch.from_numpy(X))["y"].detach(), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gs.Engine(lower(ours))(X), wanted, rtol=1e-4, atol=1e-5)
