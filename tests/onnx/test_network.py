"""ONNX files as graphs: what the file computes, on which passes work, and which becomes a file again."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import gossamer as gs
from gossamer.errors import GraphError, InputError, UnsupportedError
from gossamer.graph import check, layers
from gossamer.onnx import load, lower, save, to_graph
from gossamer.weights import Quantized


class Everything(nn.Module):
    """The operators of trained networks that its exporter writes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding="same", bias=False), nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.mean, self.q, self.calm = nn.Linear(8, 8), nn.Linear(8, 24), nn.LayerNorm(8)
        self.scale = nn.Parameter(torch.rand(8))
        self.last = nn.Linear(8 + 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.silu(self.norm(self.a(x)))
        y = torch.nn.functional.hardswish(self.b(x))
        z = (
            torch.nn.functional.leaky_relu(self.up(y), 0.2)
            + torch.nn.functional.interpolate(y, scale_factor=2.0)[:, :4]
        )
        t = self.calm(y.flatten(2).transpose(1, 2) * self.scale)
        q, k, v = self.q(t).view(x.shape[0], -1, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        t = torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v
        t = torch.nn.functional.gelu(t.transpose(1, 2).flatten(2)).mean(1)
        z = torch.nn.functional.max_pool2d(z, 3, 2, 1).clamp(-1, 6).amax((2, 3))
        return self.last(torch.cat([t, z], 1))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    network, x = Everything().eval(), torch.randn(2, 3, 8, 8)
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network, (x,), dynamo=True, verbose=False, input_names=["my.input"], output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
        )  # fmt: skip
    program.save(str(path))
    return network, path


def test_a_file_becomes_a_graph_and_a_file_again(exported, tmp_path):
    network, path = exported
    program = load(path)
    x = torch.randn(5, 3, 8, 8)
    graph = to_graph(program, [x])
    check(graph)
    torch.testing.assert_close(graph(x)["logits"], network(x), rtol=1e-3, atol=1e-5)
    assert {layer.name for layer in layers(graph)} >= {"a", "b", "up", "last"}
    again = lower(graph)
    assert [port.name for port in again.inputs] == ["my.input"]
    assert [port.name for port in again.outputs] == ["logits"]
    save(again, tmp_path / "again.onnx")
    theirs = onnxruntime.InferenceSession(str(tmp_path / "again.onnx")).run(None, {"my.input": x.numpy()})[0]
    np.testing.assert_allclose(theirs, network(x).detach().numpy(), rtol=1e-3, atol=1e-5)


def test_a_file_is_quantized_without_the_model(exported):
    network, path = exported
    calib = [torch.randn(16, 3, 8, 8) for _ in range(2)]
    graph = to_graph(load(path), [calib[0]])
    quantized = gs.Quantize()(graph, gs.Task(calib=calib))
    program = lower(quantized)
    assert sum(isinstance(w, Quantized) for w in program.weights.values()) >= 5
    x = torch.randn(64, 3, 8, 8)
    ours, wanted = gs.Engine(program)(x.numpy()), network(x).detach().numpy()
    assert np.square(ours - wanted).mean() < 0.01 * np.square(wanted).mean()


@pytest.mark.parametrize(("sizes", "allowzero"), [([1, -1], 0), ([1, 64], 0), ([1, 64], 1)])
def test_a_batch_fixed_at_one_becomes_any(sizes, allowzero):
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "shape": np.array(sizes),
        "m": rng.standard_normal((4 * 16, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("Reshape", ["y", "shape"], ["flat"], allowzero=allowzero),
        helper.make_node("MatMul", ["flat", "m"], ["out"]),
    ]
    value = helper.make_tensor_value_info
    proto = helper.make_graph(
        nodes, "one", [value("x", TensorProto.FLOAT, [1, 3, 8, 8])], [value("out", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    x = torch.randn(3, 3, 8, 8)
    graph = to_graph(load(model), [x])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for row in range(3):
        (theirs,) = session.run(None, {"x": x[row : row + 1].numpy()})
        np.testing.assert_allclose(graph(x)["out"][row].detach().numpy(), theirs[0], rtol=1e-4, atol=1e-5)


def test_an_unknown_operator_is_named():
    nodes = [helper.make_node("NonZero", ["x"], ["y"])]
    value = helper.make_tensor_value_info
    shape = ["n", 3, 4, 4]
    graph = helper.make_graph(nodes, "g", [value("x", 1, shape)], [value("y", 7, [4, "k"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(UnsupportedError, match="NonZero"):
        to_graph(load(model), [torch.randn(2, 3, 4, 4)])


class PreActivation(nn.Module):
    """Batch norms in front of their layers, as DenseNet has them: no layer takes them in."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1)) for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return x.mean((2, 3))


def test_batch_norms_with_few_channels_and_numbered_layers():
    torch.manual_seed(0)
    network, x = PreActivation().eval(), torch.randn(4, 3, 8, 8)
    for norm in (block[0] for block in network.blocks):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    graph = to_graph(lower(gs.trace(network, x)), [x])
    torch.testing.assert_close(graph(x)["output"], network(x), rtol=1e-4, atol=1e-5)
    assert {name for name, _ in graph.named_parameters()} == {name for name, _ in network.named_parameters()}
    assert "blocks.0.0.running_mean" in dict(graph.named_buffers())
    with pytest.raises(InputError, match="takes float32, and what is given is float64: convert it"):
        to_graph(lower(gs.trace(network, x)), [x.double()])


def test_a_batch_fixed_at_another_number_becomes_any():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    proto = onnx.ModelProto()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = torch.onnx.export(network, (torch.randn(4, 3, 8, 8),), dynamo=True, verbose=False)
    proto.CopyFrom(file.model_proto)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    x = torch.randn(6, 3, 8, 8)
    for given in (x, x[:2]):
        graph = to_graph(load(proto), [given])
        torch.testing.assert_close(next(iter(graph(x).values())), network(x), rtol=1e-4, atol=1e-5)


def test_statistics_that_share_their_values_with_what_trains():
    """Exporters write equal tensors once: the zeros of a mean and of a bias."""
    value = helper.make_tensor_value_info
    weights = {"zeros": np.zeros(70, np.float32), "ones": np.ones(70, np.float32)}
    graph = helper.make_graph(
        [helper.make_node("BatchNormalization", ["x", "ones", "zeros", "zeros", "ones"], ["y"])], "norm",
        [value("x", 1, ["n", 70, 4])], [value("y", 1, ["n", 70, 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    x = torch.randn(3, 70, 4)
    made = to_graph(load(model), [x])
    torch.testing.assert_close(made(x)["y"], x / np.sqrt(1 + 1e-5), rtol=1e-5, atol=1e-5)
    assert len(list(made.parameters())) == 2 and len(list(made.buffers())) == 2


@pytest.mark.parametrize("size", [1, 3])
def test_shapes_as_the_older_exporter_writes_them(size, tmp_path):
    """Sizes gathered from Shape, halved, joined, compared with -1 and chosen from."""

    class Old(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.words = nn.Parameter(torch.randn(1, 5, 8)), nn.Embedding(20, 8)
            self.calm, self.out = nn.LayerNorm(8), nn.Linear(8, 3)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.words(ids) + self.places.expand(ids.shape[0], -1, -1)
            a, b = x.view(ids.shape[0], -1, 2, x.shape[-1] // 2).unbind(2)
            x = torch.cat([b, a], -1).reshape(x.size(0) * x.size(1), 8)
            return self.out(self.calm(x)).view(ids.shape[0], ids.shape[1], -1)

    torch.manual_seed(0)
    network, ids = Old().eval(), torch.randint(0, 20, (size, 5))
    path = tmp_path / "old.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (ids,), str(path), dynamo=False, opset_version=14, input_names=["ids"], output_names=["y"],
            dynamic_axes={"ids": {0: "n"}, "y": {0: "n"}} if size > 1 else None,
        )  # fmt: skip
    more = torch.randint(0, 20, (4, 5))
    torch.testing.assert_close(to_graph(load(path), [more])(more)["y"], network(more), rtol=1e-4, atol=1e-5)


def test_examples_that_a_file_of_one_mixes_are_named():
    """Similarities of all pairs: of one example a single number, of more a matrix."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", "t"], ["pairs"]),
            helper.make_node("ReduceSum", ["pairs", "axis"], ["y"], keepdims=1),
        ],
        "pairs", [value("x", 1, [1, 8])], [value("y", 1, [1, 1])], [numpy_helper.from_array(np.array([1]), "axis")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(GraphError, match="'y' of the file mixes the examples .* dynamic"):
        to_graph(load(model), [torch.randn(4, 8)])


def test_constants_that_are_computed_are_named_with_their_operation():
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["count"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["count", "one"], ["k"]),
            helper.make_node("TopK", ["x", "k"], ["y", "places"], name="best"),
        ],
        "best", [value("x", 1, ["n", 8])], [value("y", 1, None)], [numpy_helper.from_array(np.array([1]), "one")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(UnsupportedError, match="TopK 'best' .* counts .* are computed .* PyTorch model"):
        to_graph(load(model), [torch.full((2, 8), 3.0)])
