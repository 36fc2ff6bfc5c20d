"""LSTM, GRU and RNN of ONNX files become graphs that compute what ONNX Runtime does, and files again."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import gossamer as gs
from gossamer.errors import UnsupportedError
from gossamer.graph import check, layers
from gossamer.onnx import load, lower, save, to_graph
from gossamer.weights import Quantized

INPUTS, HIDDEN, LENGTH = 3, 5, 7
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def one(op, direction="forward", bias=True, states=False, lengths=False, peepholes=False, **attributes):
    """A model of x (batch, length, inputs): one recurrence; its outputs are all that it has."""
    both, gates = 1 + (direction == "bidirectional"), GATES[op]
    constants = {
        "net.w": normal(1, both, gates * HIDDEN, INPUTS),
        "net.r": normal(2, both, gates * HIDDEN, HIDDEN),
        "net.b": normal(3, both, 2 * gates * HIDDEN),
        "lengths": np.int32([3, 7]),
        "p": normal(4, both, 3 * HIDDEN),
        "c": normal(5, both, 1, HIDDEN),
    }
    inputs = ["turned", "net.w", "net.r", "net.b" if bias else "", "lengths" if lengths else ""]
    inputs += ["h" if states else ""] + ["c0" if states else ""] * (op == "LSTM") + ["p"] * peepholes
    outputs = ["y", "y_h", "y_c"][: 3 if op == "LSTM" else 2]
    if op == "GRU":
        attributes = {"linear_before_reset": 1, **attributes}
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        *([helper.make_node("Transpose", ["state"], ["h"], perm=[1, 0, 2])] if states else []),
        *([helper.make_node("Add", ["h", "c"], ["c0"])] if states else []),
        helper.make_node(op, inputs, outputs, "net", hidden_size=HIDDEN, direction=direction, **attributes),
        helper.make_node("Transpose", ["y"], ["rows"], perm=[2, 0, 1, 3]),
        helper.make_node("Transpose", ["y_h"], ["last"], perm=[1, 0, 2]),
    ]
    value, names = helper.make_tensor_value_info, {name for node in nodes for name in node.input}
    given = [value("x", TensorProto.FLOAT, ["n", LENGTH, INPUTS])]
    given += [value("state", TensorProto.FLOAT, ["n", both, HIDDEN])] if states else []
    graph = helper.make_graph(
        nodes, "g", given, [value(name, TensorProto.FLOAT, None) for name in ("rows", "last")],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in names],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


FORMS = {
    "lstm": ("LSTM", {}),
    "lstm, both directions, states": ("LSTM", {"direction": "bidirectional", "states": True}),
    "lstm without bias, activations written out": ("LSTM", {"bias": False, "activations": ["Sigmoid", "Tanh", "Tanh"]}),
    "gru, backwards": ("GRU", {"direction": "reverse", "states": True}),
    "gru, both directions": ("GRU", {"direction": "bidirectional"}),
    "rnn": ("RNN", {}),
    "rnn of rectifiers": ("RNN", {"direction": "bidirectional", "activations": ["Relu", "Relu"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_recurrence(name):
    op, form = FORMS[name]
    model = one(op, **form)
    program = load(model)
    shapes = {"x": (4, LENGTH, INPUTS), "state": (4, 1 + (form.get("direction") == "bidirectional"), HIDDEN)}
    given = {port.name: normal(len(port.name), *shapes[port.name]) for port in program.inputs}
    graph = to_graph(program, [torch.from_numpy(x) for x in given.values()])
    check(graph)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)
    found = graph(*map(torch.from_numpy, given.values()))
    for key, array in zip(("rows", "last"), wanted, strict=True):
        np.testing.assert_allclose(found[key].detach().numpy(), array, rtol=1e-4, atol=1e-5)
    assert "net.weight_hh_l0" in {layer.weight for layer in layers(graph)}


@pytest.mark.parametrize(
    ("op", "form", "reason"),
    [
        ("LSTM", {"peepholes": True}, "peepholes"),
        ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "activations hardsigmoid, tanh, tanh"),
        ("LSTM", {"lengths": True}, "sequence_lens"),
        ("LSTM", {"clip": 3.0}, "clip"),
        ("RNN", {"layout": 1}, "layout 1"),
        ("GRU", {"linear_before_reset": 0}, "linear_before_reset 0"),
    ],
)
def test_what_torch_does_not_have_is_named(op, form, reason):
    with pytest.raises(UnsupportedError, match=f"{op} 'net'.*{reason}"):
        to_graph(load(one(op, **form)), [torch.zeros(2, LENGTH, INPUTS)])


class Tagger(nn.Module):
    """Two layers in both directions, one of another kind behind, a classifier of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, HIDDEN, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(2 * HIDDEN, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.gru(self.lstm(x)[0])
        return self.out(torch.relu(y))


def exported(network, x, path, dynamo):
    free = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), str(path), dynamo=dynamo, input_names=["x"], verbose=False, **free)


@pytest.mark.parametrize("dynamo", [True, False])
def test_what_torch_exports_is_compressed(dynamo, tmp_path):
    torch.manual_seed(0)
    network, x = Tagger().eval(), torch.randn(4, LENGTH, INPUTS)
    exported(network, x, tmp_path / "net.onnx", dynamo)
    graph = to_graph(load(tmp_path / "net.onnx"), [x])
    program = lower(gs.Quantize()(graph, gs.Task(calib=[x])))
    # Of the LSTM two for each layer and direction, of the GRU two, of the linear layer one.
    assert [type(w) for w in program.weights.values()].count(Quantized) == 11
    save(program, tmp_path / "small.onnx")
    (theirs,) = onnxruntime.InferenceSession(tmp_path / "small.onnx").run(None, {"x": x.numpy()})
    ours, wanted = gs.Engine(program)(x.numpy()), network(x).detach().numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-2 * np.abs(wanted).max())
    assert np.square(ours - wanted).mean() < 1e-3 * np.square(wanted).mean()
