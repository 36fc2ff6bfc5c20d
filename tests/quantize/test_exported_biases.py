"""Exported biases are int32, so that a runtime that multiplies integers need not make them: ONNX Runtime saturates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import gossamer as gs
from gossamer.artifact import Operation, same
from gossamer.artifact.program import Subgraph
from gossamer.engine import Engine
from gossamer.graph import record
from gossamer.onnx import lower, save
from gossamer.onnx.integer_biases import with_integer_biases
from gossamer.quantize import Int, Int8, PerTensor, Quantize
from gossamer.weights import Dense, decode, equal


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.depthwise, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8, 6)

    def forward(self, x):
        y = self.depthwise(torch.relu(self.conv(x)))
        return self.fc(torch.relu(y).mean((2, 3)))


def quantized(passes, seed=0):
    torch.manual_seed(seed)
    net = Net()
    with torch.no_grad():
        for layer in (net.conv, net.depthwise, net.fc):
            layer.weight[1] *= 1e-10  # no 32-bit bias at this channel's scale
            layer.bias[1] = 0.7
    x = torch.randn(16, 3, 12, 12)
    return passes(gs.trace(net, x), gs.Task(calib=[x])), x


def biases(path):
    model = onnx.load(path)
    types = {item.name: item.data_type for item in model.graph.initializer}
    made = {n.output[0]: n for n in model.graph.node}
    read = [n.input[2] for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    return [types[made[name].input[0]] if name in made else types[name] for name in read]


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
def test_a_channel_of_tiny_weights_keeps_its_bias(tmp_path, level):
    graph, x = quantized(Quantize())
    program = lower(graph)
    save(program, tmp_path / "net.onnx")
    assert biases(tmp_path / "net.onnx") == [onnx.TensorProto.INT32] * 3
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", options)
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    ours = Engine(program)(x.numpy())
    step = float(np.ptp(ours)) / 255
    for other in (theirs, Engine(tmp_path / "net.onnx")(x.numpy())):
        assert np.abs(ours - other).max() < 1.5 * step
        np.testing.assert_allclose(other[:, 1], ours[:, 1], rtol=1e-4)


def test_the_engine_takes_the_same_steps_for_the_file(tmp_path):
    graph, x = quantized(Quantize())
    program = lower(graph)
    save(program, tmp_path / "net.onnx")
    kernels = [
        [(step.operator, step.kernel) for step in Engine(each).explain(x.numpy())]
        for each in (program, tmp_path / "net.onnx")
    ]
    assert kernels[0] == kernels[1]


def test_weights_change_only_where_nobody_sees_it():
    graph, _ = quantized(Quantize())
    before = lower(graph)
    after = with_integer_biases(before)
    for name, weight in before.weights.items():
        if not name.endswith(("weight", "bias")):
            continue
        was, now = decode(weight), decode(after.weights[name])
        if name.endswith("bias"):  # half a unit of the accumulator
            assert (np.abs(now - was) <= 0.51 * after.weights[name].scale).all()
            continue
        np.testing.assert_allclose(now, was, rtol=1e-6, atol=1e-7 * np.abs(was).max())
        others = np.arange(len(was)) != 1
        np.testing.assert_array_equal(after.weights[name].ints[others], weight.ints[others])
    assert same(with_integer_biases(after), after)


def test_one_scale_for_all_channels_is_not_touched_where_a_bias_does_not_fit(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 1))
    with torch.no_grad():
        net[0].weight *= 1e-12
    x = torch.randn(8, 2, 5, 5)
    graph = Quantize(weights=Int8(PerTensor()))(gs.trace(net, x), gs.Task(calib=[x]))
    with record() as notes:
        save(lower(graph), tmp_path / "net.onnx")
    assert biases(tmp_path / "net.onnx") == [onnx.TensorProto.FLOAT]
    assert any("stays in float32" in n.message and "PerChannel()" in n.message for n in notes)


def test_beside_few_bits_a_bias_stays_in_floats(tmp_path):
    graph, x = quantized(Quantize(weights=Int(3)))
    program = lower(graph)
    save(program, tmp_path / "net.onnx")
    assert set(biases(tmp_path / "net.onnx")) == {onnx.TensorProto.FLOAT}
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")  # which makes int32 of them
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    ours, simulated = Engine(program)(x.numpy()), graph(x).detach().numpy()
    assert np.median(np.abs(ours - simulated)) < 1e-5 * np.ptp(simulated)
    np.testing.assert_allclose(theirs[:, 1], ours[:, 1], rtol=1e-3)  # whose weights are all but zero


def test_what_the_file_has_otherwise_is_noted(tmp_path):
    program = lower(quantized(Quantize())[0])
    with record() as notes:
        save(program, tmp_path / "net.onnx")
    assert sum("1 of 8 channels" in n.message or "1 of 6 channels" in n.message for n in notes) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bias_that_is_no_number_stays(value):
    program = lower(quantized(Quantize())[0])
    name = next(o.inputs[2] for o in program.operations if o.op == "Conv")
    spoiled = np.array(decode(program.weights[name]))
    spoiled[0] = value
    given = replace(program, weights={**program.weights, name: Dense(spoiled)})
    with record() as notes:
        after = with_integer_biases(given)
    assert equal(after.weights[name], given.weights[name])
    assert any("not finite" in n.message for n in notes)


def test_a_weight_that_a_loop_reads_too_stays():
    program = lower(quantized(Quantize())[0])
    conv = next(o for o in program.operations if o.op == "Conv")
    body = Subgraph((), ("inner",), (Operation("Identity", (conv.inputs[2],), ("inner",)),), {})
    reader = Operation("If", ("flag",), ("again",), {"then_branch": body, "else_branch": body})
    flag = {"flag": Dense(np.array(True))}
    given = replace(program, operations=(*program.operations, reader), weights={**program.weights, **flag})
    assert equal(with_integer_biases(given).weights[conv.inputs[2]], program.weights[conv.inputs[2]])
