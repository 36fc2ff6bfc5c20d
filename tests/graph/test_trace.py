"""A graph is the user's model: same names, same outputs, same training; and the model stays as it was."""

import copy

import pytest
import torch
import torch.nn.functional as F
from graph_models import CASES, OURS, DropoutCNN, TiedHeads, call, leaves, traced
from torch import nn

from gossamer.errors import InputError
from gossamer.graph import check, layers, module_of, record, source_line, trace
from gossamer.networks import lenet_5


def resized(example, rows):
    """The example with another batch size."""
    if isinstance(example, dict):
        return {name: resized(value, rows) for name, value in example.items()}
    return example[torch.arange(rows) % len(example)]


def assert_same_state(one, other):
    assert list(one.state_dict()) == list(other.state_dict())
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=0, msg=name)


def train(model, case, example, steps):
    """Losses of a few steps on one batch, dropout seeded."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    torch.manual_seed(3)
    losses = []
    for _ in range(steps):
        output = case.output(call(model, example)).flatten(1)
        loss = F.cross_entropy(output, torch.arange(len(output)) % output.shape[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", CASES)
def test_graph_is_the_model_in_eval_mode_at_any_batch_size(name):
    model, example, graph = traced(name)
    check(graph)
    assert_same_state(model, graph)
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in graph.named_parameters()]
    for rows in (1, 2, 7):
        batch = resized(example, rows)
        ours, theirs = call(graph.eval(), batch), call(model.eval(), batch)
        assert type(ours) is type(theirs)
        torch.testing.assert_close(leaves(ours), leaves(theirs))


@pytest.mark.parametrize("name", CASES)
def test_graph_trains_as_the_model_does(name):
    model, example, graph = traced(name)
    steps = 5 if name in OURS else 2
    ours = train(graph, CASES[name], example, steps)
    theirs = train(model, CASES[name], example, steps)
    assert ours == theirs
    assert len(set(ours)) > 1
    assert_same_state(model, graph)


@pytest.mark.parametrize("name", CASES)
def test_every_layer_knows_its_place(name):
    _, _, graph = traced(name)
    found = layers(graph)
    assert found
    for layer in found:
        assert graph.get_parameter(layer.weight).shape == layer.shape
        assert source_line(layer.node), layer
        assert module_of(layer.node) == "" or graph.get_submodule(module_of(layer.node)) is not None


def test_trace_leaves_the_model_and_the_random_generator_alone():
    torch.manual_seed(1)
    model = DropoutCNN()
    model.bn1.eval()
    before, modes = copy.deepcopy(model), [m.training for m in model.modules()]
    example = torch.randn(4, 1, 28, 28)
    kept = example.clone()
    state = torch.get_rng_state()
    graph = trace(model, example)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(example, kept)
    assert_same_state(model, before)
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in graph.parameters()}


def test_graph_starts_in_the_modes_of_the_model():
    model = DropoutCNN()
    model.bn1.eval()
    graph = trace(model, torch.randn(2, 1, 8, 8))
    assert graph.training
    assert not graph.get_submodule("bn1").training
    assert graph.get_submodule("bn2").training
    assert not trace(model.eval(), torch.randn(2, 1, 8, 8)).training


def test_one_module_alone_can_be_in_eval_mode():
    model, example, graph = traced("dropout")
    for network in (model, graph):
        network.get_submodule("bn1").eval()
        network.get_submodule("drop").eval()
        torch.manual_seed(0)
    outputs = []
    for network in (model, graph):
        torch.manual_seed(0)
        outputs.append(network(example))
    assert torch.equal(*outputs)
    assert graph.get_buffer("bn1.num_batches_tracked") == 0
    assert graph.get_buffer("bn2.num_batches_tracked") == 1


@pytest.mark.parametrize("name", ["dropout", "lstm", "attention", "bert"])
def test_dropout_is_random_in_train_mode_only(name):
    _, example, graph = traced(name)
    runs = [leaves(call(graph, example))[0] for _ in range(2)]
    assert not torch.equal(*runs)
    runs = [leaves(call(graph.eval(), example))[0] for _ in range(2)]
    assert torch.equal(*runs)


class ManyDropouts(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.InstanceNorm1d(4, affine=True, track_running_stats=True)
        self.steps = nn.ModuleList(
            [
                nn.AlphaDropout(0.3),
                nn.FeatureAlphaDropout(0.3),
                nn.Dropout1d(0.3),
                nn.RReLU(),
                nn.Dropout(0.3),
            ]
        )
        self.always = nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x):
        x = self.always(self.norm(x))
        for step in self.steps:
            x = step(x)
        return F.dropout(x, 0.5, training=True)


def test_every_kind_of_dropout_and_norm_follows_the_flags():
    model = ManyDropouts()
    graph = trace(model, torch.randn(3, 4, 6))
    x = torch.randn(5, 4, 6)
    for mode in (True, False, True):
        outputs = []
        for network in (model.train(mode), graph.train(mode)):
            torch.manual_seed(0)
            outputs.append(network(x))
        assert torch.equal(*outputs)
    assert_same_state(model, graph)


def test_frozen_batch_norm_of_an_overridden_train_stays_frozen():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def train(self, mode=True):
            super().train(mode)
            self.norm.eval()
            return self

        def forward(self, x):
            return self.norm(self.fc(x))

    model = Frozen().train()
    graph = trace(model, torch.randn(4, 4)).train()
    x = torch.randn(8, 4)
    assert torch.equal(graph(x), model(x))
    assert_same_state(model, graph)


def test_what_only_one_mode_computes_is_noted():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            if self.training:
                x = x + torch.randn_like(x)
            return self.fc(x)

    with record() as notes:
        trace(Noisy(), torch.randn(2, 4))
    assert len(notes) == 1
    assert "randn_like" in notes[0].message
    assert "x = x + torch.randn_like(x)" in notes[0].message


def test_a_model_whose_train_mode_cannot_be_traced_still_has_live_flags():
    class LayerDrop(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)

        def forward(self, x):
            if self.training and torch.rand(()) > 0.5:
                return x
            return self.drop(self.fc(x))

    with record() as notes:
        graph = trace(LayerDrop(), torch.randn(2, 4)).train()
    assert "torch.rand(()) > 0.5" in notes[0].message
    x = torch.randn(50, 4)
    assert (graph(x) == 0).any()
    assert not (graph.eval()(x) == 0).any()


def test_computed_weights_are_noted():
    with record() as notes:
        graph = trace(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), torch.randn(2, 3))
    assert "its weight is computed" in notes[0].message
    assert not layers(graph)


def test_gradients_stop_where_the_model_stops_them():
    class Stopped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            with torch.no_grad():
                y = self.a(x)
            return self.b(y) + x

    model, x = Stopped(), torch.randn(4, 3)
    graph = trace(model, x)
    graph(x).sum().backward()
    model(x).sum().backward()
    assert graph.get_parameter("a.weight").grad is None
    assert torch.equal(graph.get_parameter("b.weight").grad, model.b.weight.grad)
    with torch.no_grad():
        graph(x)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_called_by_position_and_by_name():
    model = TiedHeads().eval()
    x, gain = torch.randn(5, 6), torch.rand(5)
    for example in ((x, gain), {"gain": gain, "x": x}):
        graph = trace(model, example)
        expected = leaves(model(x, gain))
        for outputs in (graph(x, gain), graph(x, gain=gain), graph(gain=gain, x=x)):
            torch.testing.assert_close(leaves(outputs), expected)
        assert [i.name for i in graph.signature] == ["x", "gain"]


def test_an_example_of_one_row_leaves_the_batch_free():
    model = lenet_5().eval()
    graph = trace(model, torch.randn(1, 1, 28, 28))
    assert graph.signature[0].shape == (1, 1, 28, 28)
    x = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(graph(x), model(x))


def test_other_shapes_than_the_traced_one_are_refused_by_name():
    graph = trace(lenet_5(), torch.randn(2, 1, 28, 28))
    with pytest.raises(InputError, match=r"\(2, 1, 32, 32\).*\('batch', 1, 28, 28\)"):
        graph(torch.randn(2, 1, 32, 32))


def test_a_graph_traced_again_is_a_copy():
    graph = trace(lenet_5(), torch.randn(2, 1, 28, 28))
    again = trace(graph, torch.randn(2, 1, 28, 28))
    assert again is not graph
    assert_same_state(graph, again)
    assert again.get_parameter("conv1.weight") is not graph.get_parameter("conv1.weight")


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
def test_wrappers_are_taken_off():
    model = lenet_5()
    names = [n for n, _ in model.named_parameters()]
    for wrapped in (torch.compile(model), nn.DataParallel(model), torch.compile(nn.DataParallel(model))):
        assert [n for n, _ in trace(wrapped, torch.randn(2, 1, 28, 28)).named_parameters()] == names


def test_attention_of_a_frozen_encoder_keeps_its_weights_visible():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval().requires_grad_(False)
    graph = trace(model, torch.randn(2, 5, 8))
    assert {layer.kind for layer in layers(graph)} == {"linear"}
    assert len(layers(graph)) == 4
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(graph(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["dropout", "tied", "bert"])
def test_graph_moves_to_a_gpu(name):
    model, example, graph = traced(name)
    expected = leaves(call(model.eval(), example))
    moved = {k: v.cuda() for k, v in example.items()} if isinstance(example, dict) else example.cuda()
    outputs = leaves(call(graph.eval().cuda(), moved))
    torch.testing.assert_close([o.cpu() for o in outputs], expected, rtol=1e-3, atol=1e-4)


def test_slices_that_take_everything_are_left_out():
    class Sliced(nn.Module):
        def forward(self, x):
            return x[:, 2:, :][:, :, 1:-1]

    x = torch.randn(3, 5, 7)
    graph = trace(Sliced(), x)
    assert sum(node.op == "call_function" for node in graph.graph.nodes) == 2
    torch.testing.assert_close(graph(x), x[:, 2:, 1:-1])
