"""Layers, cost and specification, against counts by hand and known figures."""

import pytest
import torch
import torch.nn.functional as F
from graph_models import Scale
from torch import nn

from gossamer.errors import GraphError
from gossamer.graph import WeightTransform, add_transform, check, cost, layers, record, trace
from gossamer.networks import lenet_5, lenet_300_100


def summary(layer):
    return (
        layer.name,
        layer.kind,
        layer.shape,
        layer.output_axis,
        layer.input_axis,
        layer.groups,
        len(layer.nodes),
    )


class ByHand(nn.Module):
    """Layers that are no modules: products with views of parameters, and one weight used twice."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 5))
        self.v = nn.Parameter(torch.randn(5, 6))
        self.k = nn.Parameter(torch.randn(4, 6, 1, 1))
        self.bias = nn.Parameter(torch.randn(4))
        self.mix = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        a = x @ self.w.t() + torch.addmm(self.v[0], x, self.v)
        b = F.conv2d(a[:, :, None, None], self.k).flatten(1)
        c = F.linear(a, self.k.view(4, 6), self.bias)
        return torch.einsum("bi,bi->b", b, c) + (self.mix.mT @ b.T).sum(0)


def test_layers_are_found_by_their_operators():
    assert [summary(layer) for layer in layers(trace(ByHand(), torch.randn(3, 5)))] == [
        ("w", "matmul", (6, 5), 0, 1, 1, 1),
        ("v", "addmm", (5, 6), 1, 0, 1, 1),
        ("k", "conv2d", (4, 6, 1, 1), 0, 1, 1, 2),
        ("mix", "matmul", (4, 4), 1, 0, 1, 1),
    ]


MODULES = {
    "grouped": (nn.Conv1d(4, 6, 3, groups=2, padding="same"), (2, 4, 8), ("conv1d", (6, 2, 3), 0, 1, 2)),
    "conv3d": (nn.Conv3d(2, 3, (1, 2, 3)), (2, 2, 4, 4, 4), ("conv3d", (3, 2, 1, 2, 3), 0, 1, 1)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3), (2, 4, 5, 5), ("conv_transpose2d", (4, 6, 3, 3), 1, 0, 1)),
    "embedding": (nn.Embedding(7, 3), None, ("embedding", (7, 3), 1, 0, 1)),
}


@pytest.mark.parametrize("name", MODULES)
def test_layers_of_modules(name):
    module, shape, expected = MODULES[name]
    example = torch.zeros(2, 4, dtype=torch.long) if shape is None else torch.randn(shape)
    (layer,) = layers(trace(nn.Sequential(module), example))
    assert (layer.kind, layer.shape, layer.output_axis, layer.input_axis, layer.groups) == expected
    assert layer.name == "0"


def test_layers_of_recurrent_networks():
    found = layers(trace(nn.GRU(3, 4, bidirectional=True, batch_first=True), torch.randn(2, 5, 3)))
    assert len(found) == 4
    assert {(layer.kind, layer.output_axis, layer.input_axis) for layer in found} == {("gru", 0, 1)}


def resnet_18():
    transformers = pytest.importorskip("transformers", reason="transformers builds ResNet-18")
    config = transformers.ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        num_labels=1000,
    )
    return transformers.ResNetForImageClassification(config)


# Model, example, MACs, parameters. LeNets: by hand. ResNet-18: 1.814 G and 11,689,512 as everywhere published.
KNOWN = {
    "lenet-300-100": (lenet_300_100, (1, 28, 28), 784 * 300 + 300 * 100 + 1000, 266_610),
    "lenet-5": (lenet_5, (1, 28, 28), 20 * 25 * 576 + 50 * 500 * 64 + 400_000 + 5_000, 431_080),
    "resnet-18": (resnet_18, (3, 224, 224), 1_814_073_344, 11_689_512),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3), (4, 5, 5), 25 * 4 * 6 * 9, 4 * 6 * 9 + 6),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (4, 5, 5), 9 * 6 * 2 * 9, 6 * 2 * 9 + 6),
    "lstm": (lambda: nn.LSTM(3, 4, batch_first=True), (7, 3), 7 * (16 * 3 + 16 * 4), 16 * 7 + 32),
    "attention": (
        lambda: nn.MultiheadAttention(8, 2, batch_first=True, bias=False),
        (5, 8),
        5 * 8 * 8 * 4 + 2 * 5 * 5 * 8,
        4 * 64,
    ),
    "by hand": (ByHand, (5,), 30 + 30 + 24 + 24 + 4 + 16, 30 + 30 + 24 + 4 + 16),
}


class SelfAttention(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("name", KNOWN)
def test_cost_is_what_is_known(name):
    build, shape, macs, parameters = KNOWN[name]
    model = SelfAttention(build()) if name == "attention" else build()
    graph = trace(model.to("meta"), torch.randn(2, *shape, device="meta"))  # nothing but shapes is needed
    with record() as notes:
        counted = cost(graph)
    assert not notes
    assert (counted.macs, counted.parameters) == (macs, parameters)
    assert counted.executed_macs == counted.macs
    assert sum(layer.parameters for layer in counted.layers) <= counted.parameters


def test_zeros_are_not_executed():
    graph = trace(lenet_5(), torch.randn(1, 1, 28, 28))
    dense = cost(graph)
    add_transform(graph, "fc1.weight", Scale(torch.tensor(0.0)))
    with torch.no_grad():
        graph.get_parameter("conv1.weight")[:10] = 0
    sparse = cost(graph)
    assert sparse.macs == dense.macs
    assert sparse.executed_macs == dense.macs - 400_000 - 10 * 25 * 576
    assert sparse.nonzero == dense.nonzero - 400_000 - 250
    assert sparse.parameters == dense.parameters
    assert {layer.name: layer.nonzero for layer in sparse.layers}["fc1"] == 0


class Turn(WeightTransform):
    """Breaks the specification: another shape, or values that are none."""

    def __init__(self, broken):
        super().__init__()
        self.broken = broken

    def forward(self, weight):
        return weight.t() if self.broken == "shape" else weight / 0

    def represent(self, weight):
        return weight

    def arguments(self):
        return {"broken": self.broken}


def _break_attribute(graph):
    del graph.fc1.weight


def _break_parameter(graph):
    with torch.no_grad():
        graph.fc2.bias[1] = float("nan")


def _break_shape(graph):
    graph.fc1.weight = nn.Parameter(torch.randn(300, 783))


def _break_order(graph):
    nodes = list(graph.graph.nodes)
    nodes[-2].append(next(n for n in nodes if n.op == "call_function"))


def _break_function(graph):
    node = next(n for n in graph.graph.nodes if n.op == "call_function")
    node.target = print


def _break_kind(graph):
    node = next(n for n in graph.graph.nodes if n.op == "call_function")
    with graph.graph.inserting_before(node):
        graph.graph.call_module("fc1", (node.args[0],))


def _break_inputs(graph):
    with graph.graph.inserting_before(next(iter(graph.graph.nodes))):
        graph.graph.placeholder("more")


def _break_batch(graph):
    node = next(n for n in graph.graph.nodes if "linear" in str(n.target))
    with graph.graph.inserting_before(node):
        fixed = graph.graph.call_function(torch.ops.aten.reshape.default, (node.args[0], [2, 784]))
    node.args = (fixed, *node.args[1:])


BROKEN = {
    "attribute": (_break_attribute, "node 'fc1_weight' reads 'fc1.weight', which is not there"),
    "NaN": (_break_parameter, "weight 'fc2.bias' has NaN"),
    "shape": (_break_shape, "node 'linear.*cannot run"),
    "order": (_break_order, "which comes later"),
    "function": (_break_function, "no torch operator"),
    "kind": (_break_kind, "is a call_module"),
    "inputs": (_break_inputs, "its signature is"),
    "batch": (_break_batch, "node 'reshape.*cannot run"),
    "transform's shape": (lambda g: add_transform(g, "fc1.weight", Turn("shape")), "keeps shape and dtype"),
    "transform's values": (lambda g: add_transform(g, "fc1.weight", Turn("values")), "give NaN"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_graph_that_breaks_the_specification_is_named(name):
    graph = trace(lenet_300_100(), torch.randn(2, 1, 28, 28))
    check(graph)
    damage, message = BROKEN[name]
    damage(graph)
    with pytest.raises(GraphError, match=message):
        check(graph)


def test_check_leaves_the_graph_alone():
    graph = trace(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), torch.randn(2, 3)).train()
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    check(graph)
    cost(graph)
    assert graph.training
    assert all(torch.equal(before[name], value) for name, value in graph.state_dict().items())
