"""Weight sharing: at most 2**bits values a layer, trained by summed gradients, zeros kept."""

import pytest
import torch
from torch import nn

import gossamer as gs
from gossamer import weights
from gossamer.errors import RecipeError
from gossamer.graph import record, represent, transforms
from gossamer.numerics import Density, Linear, Random

TASK = gs.Task()


@pytest.fixture
def graph():
    torch.manual_seed(0)
    network = nn.Sequential()
    network.add_module("fc1", nn.Linear(30, 20))
    network.add_module("fc2", nn.Linear(20, 10))
    return gs.trace(network, torch.randn(4, 30))


def weight(graph, layer):
    return graph.get_submodule(layer).weight.detach()


@pytest.mark.parametrize("start", [Linear(), Density(), Random(seed=1)], ids=repr)
@pytest.mark.parametrize("bits", [1, 3, 5])
def test_a_layer_has_at_most_two_to_the_bits_values(graph, bits, start):
    shared = gs.Cluster(bits=bits, start=start)(graph, TASK)
    for layer in ("fc1", "fc2"):
        assert 1 < len(weight(shared, layer).unique()) <= 2**bits
        nearest = (
            (weight(graph, layer).flatten()[:, None] - weight(shared, layer).unique()).abs().min(1).values
        )
        error = (weight(graph, layer) - weight(shared, layer)).abs().flatten()
        torch.testing.assert_close(error, nearest)


def test_zeros_stay_zero_and_take_no_centroid(graph):
    pruned = gs.Prune(0.7)(graph, TASK)
    shared = gs.Cluster(bits=2)(pruned, TASK)
    assert torch.equal(weight(shared, "fc1") == 0, weight(pruned, "fc1") == 0)
    assert len(weight(shared, "fc1").unique()) == 5
    shipped = represent(shared, "fc1.weight")
    assert isinstance(shipped, weights.Sparse)
    assert isinstance(shipped.values, weights.Codebook)
    assert len(shipped.values.centroids) == 4 and weights.nonzeros(shipped) == 180


def test_the_gradient_of_a_shared_value_is_the_sum_of_its_weights(graph):
    shared = gs.Cluster(bits=3)(gs.Prune(0.5)(graph, TASK), TASK)
    x, y = torch.randn(8, 30), torch.randn(8, 10)
    table = transforms(shared, "fc1.weight")[-1]
    (shared(x) - y).square().mean().backward()

    plain = weight(shared, "fc1").clone().requires_grad_()
    hidden = x @ plain.T + graph.get_submodule("fc1").bias
    (hidden @ weight(shared, "fc2").T + graph.get_submodule("fc2").bias - y).square().mean().backward()
    for k in range(len(table.centroids)):
        expected = plain.grad[table.assignment == k + 1].sum()
        torch.testing.assert_close(table.centroids.grad[k], expected)


def test_overrides_and_zero_bits(graph):
    shared = gs.Cluster(bits=4, overrides={"fc2": 1})(graph, TASK)
    assert len(weight(shared, "fc2").unique()) == 2
    alone = gs.Cluster(bits=4, overrides={"fc2": 0})(graph, TASK)
    assert torch.equal(weight(alone, "fc2"), weight(graph, "fc2"))
    with pytest.raises(RecipeError, match="no layer is called 'conv1'"):
        gs.Cluster(overrides={"conv1": 8})(graph, TASK)


def test_sharing_again_replaces_the_table(graph):
    again = gs.Cluster(bits=2)(gs.Cluster(bits=5)(graph, TASK), TASK)
    assert len(transforms(again, "fc1.weight")) == 1
    assert len(weight(again, "fc1").unique()) == 4


def test_a_layer_of_zeros_is_named(graph):
    with torch.no_grad():
        graph.get_submodule("fc1").weight.zero_()
    with record() as notes:
        gs.Cluster(bits=2)(graph, TASK)
    assert any(note.subject == "fc1.weight" and "every weight is zero" in note.message for note in notes)


@pytest.mark.parametrize("bits", [0, 17, -1, 2.5])
def test_bits_out_of_range(bits):
    with pytest.raises(RecipeError, match="bits is"):
        gs.Cluster(bits=bits)
