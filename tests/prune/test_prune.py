"""Magnitude pruning against what the papers say, counted by hand."""

import pytest
import torch
from torch import nn

import gossamer as gs
from gossamer.errors import RecipeError
from gossamer.graph import record, transforms
from gossamer.prune import Global, StdThreshold
from gossamer.recipe import Cubic, Even, Full

TASK = gs.Task()


@pytest.fixture
def graph():
    torch.manual_seed(0)
    network = nn.Sequential()
    network.add_module("fc1", nn.Linear(30, 20))
    network.add_module("act", nn.ReLU())
    network.add_module("fc2", nn.Linear(20, 10))
    with torch.no_grad():
        network.fc2.weight *= 10
    return gs.trace(network, torch.randn(4, 30))


def weight(graph, layer):
    return graph.get_submodule(layer).weight.detach()


def zeros(graph, layer):
    return int((weight(graph, layer) == 0).sum())


def test_uniform_removes_the_smallest_of_each_layer(graph):
    pruned = gs.Prune(0.75)(graph, TASK)
    for layer, size in [("fc1", 600), ("fc2", 200)]:
        assert zeros(pruned, layer) == round(0.75 * size)
        before, kept = weight(graph, layer).abs(), weight(pruned, layer) != 0
        assert before[kept].min() >= before[~kept].max()
        assert torch.equal(weight(pruned, layer)[kept], weight(graph, layer)[kept])


def test_global_removes_the_smallest_of_all(graph):
    pruned = gs.Prune(0.5, allocate=Global())(graph, TASK)
    assert zeros(pruned, "fc1") + zeros(pruned, "fc2") == 400
    assert zeros(pruned, "fc1") > 380  # fc2's weights are ten times as large


def test_global_leaves_out_layers_with_their_own_amount(graph):
    pruned = gs.Prune(0.5, allocate=Global(), overrides={"fc2": 0.9})(graph, TASK)
    assert (zeros(pruned, "fc1"), zeros(pruned, "fc2")) == (300, 180)


def test_threshold_is_quality_times_standard_deviation(graph):
    pruned = gs.Prune(1.1, allocate=StdThreshold())(graph, TASK)
    for layer in ("fc1", "fc2"):
        before = weight(graph, layer)
        threshold = 1.1 * before.double().square().mean().sqrt()
        assert torch.equal(weight(pruned, layer) == 0, before.abs() < threshold)


def test_overrides_by_pattern(graph):
    assert zeros(gs.Prune(0.5, overrides={"fc2": 0.0})(graph, TASK), "fc2") == 0
    assert zeros(gs.Prune(0.0, overrides={"fc?.weight": 0.5})(graph, TASK), "fc2") == 100
    first = gs.Prune(0.5, overrides={"fc1": 0.1, "fc*": 0.9})(graph, TASK)
    assert (zeros(first, "fc1"), zeros(first, "fc2")) == (60, 180)


def test_a_pattern_that_matches_nothing_names_the_layers(graph):
    with pytest.raises(RecipeError, match=r"no layer is called 'fc9'; the layers are: fc1, fc2"):
        gs.Prune(0.5, overrides={"fc9": 0.1})(graph, TASK)


@pytest.mark.parametrize("amount", [-0.1, 1.0, 7.0, float("nan")])
def test_an_amount_out_of_range(amount):
    with pytest.raises(RecipeError, match="amount is"):
        gs.Prune(amount)


def test_pruning_again_only_takes_more(graph):
    once = gs.Prune(0.5)(graph, TASK)
    twice = gs.Prune(0.8)(once, TASK)
    assert zeros(twice, "fc1") == 480
    assert bool((weight(twice, "fc1")[weight(once, "fc1") == 0] == 0).all())
    assert len(transforms(twice, "fc1.weight")) == 1
    with record() as notes:
        back = gs.Prune(0.3)(twice, TASK)
    assert zeros(back, "fc1") == 480
    assert {note.subject for note in notes} >= {"fc1.weight", "fc2.weight"}


def test_no_layer_dies_and_that_is_said(graph):
    with record() as notes:
        pruned = gs.Prune(9.0, allocate=StdThreshold())(graph, TASK)
    assert (zeros(pruned, "fc1"), zeros(pruned, "fc2")) == (599, 199)
    assert any("the largest alone stays" in note.message for note in notes)


def test_a_removed_weight_does_not_train(graph):
    pruned = gs.Prune(0.75)(graph, TASK)
    pruned(torch.randn(8, 30)).square().mean().backward()
    inner = pruned.get_submodule("fc1").parametrizations.weight
    assert bool((inner.original.grad[~inner[0].kept] == 0).all())
    assert bool((inner.original.grad[inner[0].kept] != 0).any())


def test_pruning_after_sharing_keeps_the_shared_values(graph):
    shared = gs.Cluster(bits=3)(graph, TASK)
    pruned = gs.Prune(0.5)(shared, TASK)
    values = weight(pruned, "fc1")
    assert zeros(pruned, "fc1") == 300
    assert set(values.unique().tolist()) <= {0.0, *weight(shared, "fc1").unique().tolist()}


def test_a_shared_parameter_is_pruned_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            return self.fc(self.fc(x))

    pruned = gs.Prune(0.5)(gs.trace(Tied(), torch.randn(2, 8)), TASK)
    assert zeros(pruned, "fc") == 32
    assert len(transforms(pruned, "fc.weight")) == 1


@pytest.mark.parametrize("ramp", [Cubic(), Even(), Full()], ids=repr)
def test_repeat_ends_at_full_strength(graph, ramp):
    steps = list(gs.Repeat(4, [gs.Prune(0.8, overrides={"fc2": 0.4})], ramp=ramp).unrolled())
    amounts = [step.amount for step in steps]
    assert amounts == sorted(amounts) and amounts[-1] == 0.8
    assert steps[-1].overrides == {"fc2": 0.4}
    assert zeros(gs.Repeat(4, [gs.Prune(0.8)], ramp=ramp)(graph, TASK), "fc1") == 480


def test_repeat_follows_the_cubic_of_zhu_and_gupta():
    amounts = [step.amount for step in gs.Repeat(3, [gs.Prune(0.9)]).unrolled()]
    assert amounts == pytest.approx([0.9 * (1 - (1 - t) ** 3) for t in (1 / 3, 2 / 3, 1)])


def test_an_embedding_is_left_alone_by_name():
    network = nn.Sequential()
    network.add_module("table", nn.Embedding(10, 8))
    network.add_module("fc", nn.Linear(8, 4))
    graph = gs.trace(network, torch.zeros(2, 3, dtype=torch.int64))
    with record() as notes:
        pruned = gs.Prune(0.5)(graph, TASK)
    assert (zeros(pruned, "table"), zeros(pruned, "fc")) == (0, 16)
    assert [note.subject for note in notes] == ["table.weight"]
    assert zeros(gs.Prune(0.5, overrides={"table": 0.5})(graph, TASK), "table") == 40
