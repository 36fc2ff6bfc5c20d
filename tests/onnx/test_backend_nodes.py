"""The ONNX standard's own node tests, made by the installed onnx package: nobody here wrote them."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from functools import cache

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx_helpers import assert_equal_bits, assert_same, run_reference

import gossamer.onnx as gossamer_onnx
from gossamer.artifact.program import Program
from gossamer.errors import UnsupportedError

# Why a node test may be refused, as the message begins or ends once names are taken out.
REASONS = {
    "operator _ holds a subgraph in attribute _",
    "operator _ works on _, which is no numeric tensor",
    "operator _, attribute _: string tensors",
    "input _: string tensors",
    "input _ is a sequence",
    "input _ is a optional",
}


@cache
def cases():
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return collect_testcases(None)


@cache
def programs() -> tuple[dict[str, Program], Counter[str]]:
    """Every node test that a Program can hold, by name, and how many were refused for each reason."""
    loaded: dict[str, Program] = {}
    refused: Counter[str] = Counter()
    for case in cases():
        try:
            loaded[case.name] = gossamer_onnx.load(case.model)
        except UnsupportedError as error:
            text = re.sub(r"'[^']*'", "_", str(error)).replace(" (node _)", "")
            refused[next((reason for reason in REASONS if text.startswith(reason)), text)] += 1
    return loaded, refused


def test_every_node_test_is_held_or_refused_for_a_known_reason():
    loaded, refused = programs()
    assert set(refused) <= REASONS
    assert len(loaded) + refused.total() == len(cases())
    assert len(loaded) > 0.9 * len(cases()) > 1000


def test_every_node_test_comes_back_unchanged():
    for program in programs()[0].values():
        assert_same(gossamer_onnx.load(gossamer_onnx.to_onnx(program)), program)


def test_nodes_names_and_attributes_are_those_of_the_original():
    loaded, _ = programs()
    compared = 0
    for case in cases():
        if case.name not in loaded or case.model.functions:
            continue
        model = gossamer_onnx.to_onnx(loaded[case.name])
        theirs = [node for node in case.model.graph.node if node.op_type != "Constant"]
        assert [_comparable(node) for node in model.graph.node] == [_comparable(node) for node in theirs]
        assert list(model.opset_import) == list(case.model.opset_import)
        weights = {tensor.name for tensor in model.graph.initializer}
        assert [v.name for v in model.graph.input] == [
            v.name for v in case.model.graph.input if v.name not in weights
        ]
        assert [v.type for v in model.graph.output] == [v.type for v in case.model.graph.output]
        compared += 1
    assert compared > 1000


def _comparable(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node without the names and documentation of its tensors, which mean nothing."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.ClearField("doc_string")
    if not copy.domain:
        copy.ClearField("domain")
    for item in copy.attribute:
        if item.HasField("t"):
            item.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item.t)))
    return copy


def test_results_are_those_of_the_original():
    """Both are run by the standard's reference evaluator, on the inputs of the test, bit for bit."""
    loaded, _ = programs()
    ran = 0
    for case in cases():
        if case.name not in loaded or not is_cheap(case) or is_random(case.model):
            continue
        names = [value.name for value in case.model.graph.input]
        inputs = dict(zip(names, case.data_sets[0][0], strict=False))
        try:
            expected = run_reference(case.model, inputs)
        except Exception:  # the reference evaluator lacks some operators and fails on some of its own tests
            continue
        assert_equal_bits(run_reference(gossamer_onnx.to_onnx(loaded[case.name]), inputs), expected)
        ran += 1
    assert ran > 700


def is_cheap(case) -> bool:
    """The reference evaluator is written in Python loops: small tensors, few operators."""
    size = sum(np.size(array) for array in case.data_sets[0][0])
    return size < 3000 and len(case.model.graph.node) < 8


def is_random(model: onnx.ModelProto) -> bool:
    kinds = {node.op_type for node in (*model.graph.node, *(n for f in model.functions for n in f.node))}
    return any(kind.startswith(("Random", "Bernoulli", "Multinomial", "Dropout")) for kind in kinds)
