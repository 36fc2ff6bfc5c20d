"""Channels, heads and blocks removed: how many, which, and what the rest does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import gossamer as gs
from gossamer.errors import GraphError, RecipeError
from gossamer.graph import check, from_state, put_back, record, residual_blocks, to_state
from gossamer.networks import lenet_5, residual_cnn
from gossamer.onnx import lower
from gossamer.prune import Channels, Global, Heads, Layers, Magnitude

TASK = gs.Task()
DIGITS = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def cnn():
    torch.manual_seed(0)
    return residual_cnn(width=16, stages=2).eval()


@pytest.fixture
def graph(cnn):
    return gs.trace(cnn, DIGITS)


def encoder(layers=3):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
    return nn.Sequential(nn.Linear(6, 16), nn.TransformerEncoder(layer, layers), nn.Linear(16, 3)).eval()


def shape(graph, name):
    return tuple(graph.get_parameter(name).shape)


def test_uniform_takes_the_share_of_every_group(graph):
    pruned = gs.Prune(0.5, Channels(round_to=1))(graph, TASK)
    for group in gs.channel_groups(graph):
        if group.refused is None:
            member = group.members[0]
            now = pruned.get_parameter(member.weight).shape[member.axis]
            assert now == group.units // 2
    assert shape(pruned, "fc.weight")[0] == 10


def test_the_largest_filters_stay():
    torch.manual_seed(0)
    graph = gs.trace(lenet_5(), DIGITS)
    pruned = gs.Prune(0.4, Channels(1), Magnitude(norm=1), overrides={"conv2": 0.0, "fc1": 0.0})(graph, TASK)
    norms = graph.get_parameter("conv1.weight").abs().flatten(1).sum(1)
    norms = norms + graph.get_parameter("conv2.weight").abs().transpose(0, 1).flatten(1).sum(1)
    kept = norms.argsort(descending=True)[:12].sort()[0]
    assert torch.equal(pruned.get_parameter("conv1.weight"), graph.get_parameter("conv1.weight")[kept])
    assert shape(pruned, "conv2.weight") == (50, 12, 5, 5)


@pytest.mark.parametrize(("round_to", "width"), [(1, 10), (4, 12), (8, 16), (64, 10)])
def test_widths_are_rounded_up(round_to, width):
    graph = gs.trace(nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3)), torch.randn(2, 6))
    assert shape(gs.Prune(0.5, Channels(round_to))(graph, TASK), "0.weight") == (width, 6)


def test_pruning_again_counts_what_is_gone(graph):
    half = gs.Prune(0.5, Channels(1))(graph, TASK)
    again = gs.Prune(0.5, Channels(1))(half, TASK)
    assert shape(again, "stem.weight") == shape(half, "stem.weight")
    more = gs.Prune(0.75, Channels(1))(from_state(to_state(half)), TASK)
    assert shape(more, "stem.weight")[0] == 4
    at_once = gs.Prune(0.75, Channels(1))(graph, TASK)
    assert [p.shape for p in more.parameters()] == [p.shape for p in at_once.parameters()]


def test_an_override_counts_for_all_layers_that_share_channels(graph):
    pruned = gs.Prune(0.5, Channels(1), overrides={"blocks.0.conv2": 0.0})(graph, TASK)
    assert shape(pruned, "stem.weight")[0] == 16  # the stem's channels are those of the first block's sum
    assert shape(pruned, "blocks.0.conv1.weight")[0] == 8


def test_what_is_left_whole_is_said(graph):
    with record() as notes:
        gs.Prune(0.5, Channels())(graph, TASK)
    assert any(n.subject == "fc" and "output of the network" in n.message for n in notes)


def test_masks_and_shared_values_are_cut_too(graph):
    masked = gs.Cluster(bits=3)(gs.Prune(0.5)(graph, TASK), TASK)
    pruned = gs.Prune(0.5, Channels(1), allocate=Global())(masked, TASK)
    check(pruned)
    before = set(masked.get_submodule("stem").weight.unique().tolist())
    assert set(pruned.get_submodule("stem").weight.unique().tolist()) <= before
    assert 0.0 in before
    lower(pruned)


def test_heads(graph):
    net = gs.trace(encoder(), torch.randn(2, 5, 6))
    pruned = gs.Prune(0.5, Heads())(net, TASK)
    for layer in range(3):
        assert shape(pruned, f"1.layers.{layer}.self_attn.in_proj_weight") == (24, 16)
        assert shape(pruned, f"1.layers.{layer}.self_attn.out_proj.weight") == (16, 8)
    with record() as notes:
        same = gs.Prune(0.5, Heads())(graph, TASK)
    assert notes and shape(same, "stem.weight") == shape(graph, "stem.weight")


def test_blocks_are_found_and_leave_their_shortcut():
    net = gs.trace(encoder(), torch.randn(2, 5, 6))
    names = [block.name for block in residual_blocks(net)]
    assert names[:2] == ["1.layers.0.self_attn", "1.layers.0"]
    assert len(names) == 6
    with record() as notes:
        pruned = gs.Prune(0.5, Layers())(net, TASK)
    check(pruned)
    assert len(residual_blocks(pruned)) == 3
    gone = [n.subject for n in notes if "removed" in n.message]
    assert len(gone) == 3
    kept = sum(p.numel() for p in pruned.parameters())
    inside = sum(
        net.get_parameter(w).numel() for b in residual_blocks(net) if b.name in gone for w in b.weights
    )
    assert kept < sum(p.numel() for p in net.parameters()) - inside + 1
    assert len(residual_blocks(gs.Prune(0.5, Layers())(pruned, TASK))) == 3


def test_a_block_without_its_branch_is_the_shortcut():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = x + self.a(x)
            return x + 100 * self.b(x)

    net = Two()
    graph = gs.trace(net, torch.randn(2, 4))
    with torch.no_grad():
        net.b.weight.zero_()
        net.b.bias.zero_()
        graph.get_parameter("b.weight").mul_(1e-3)
        pruned = gs.Prune(0.5, Layers())(graph, TASK)
        x = torch.randn(3, 4)
        assert torch.equal(pruned(x), net(x))
    assert {name for name, _ in pruned.named_parameters()} == {"a.weight", "a.bias"}


def test_put_back_into_the_users_module(cnn, graph):
    pruned = gs.Prune(0.5, Channels(1))(graph, TASK)
    module = put_back(pruned, cnn)
    assert type(module) is type(cnn)
    assert (module.stem.out_channels, module.bn.num_features, module.fc.in_features) == (8, 8, 16)
    assert cnn.stem.out_channels == 16
    with torch.no_grad():
        torch.testing.assert_close(module(DIGITS), pruned.eval()(DIGITS))


def test_put_back_says_which_line_counts_channels():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.b(self.a(x).view(-1, 2, 4).transpose(1, 2).reshape(-1, 8))

    net = Fixed()
    pruned = gs.Prune(0.5, Channels(1))(gs.trace(net, torch.randn(2, 6)), TASK)
    with pytest.raises(GraphError, match=r"self\.b\(self\.a\(x\)\.view\(-1, 2, 4\)"):
        put_back(pruned, net)
    with pytest.raises(GraphError, match="the graph has no"):
        put_back(pruned, nn.Sequential(nn.Linear(6, 8)))


def test_rounding_below_one():
    with pytest.raises(RecipeError, match="round_to"):
        Channels(0)


def test_it_trains_after_pruning(graph):
    pruned = gs.Prune(0.5, Channels(1))(graph, TASK)
    before = copy.deepcopy(pruned.state_dict())
    pruned.train()(DIGITS).square().mean().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in pruned.parameters())
    assert before.keys() == pruned.state_dict().keys()


class FusedAttention(nn.Module):
    """Queries, keys and values of one layer, whose groups have its name and numbers."""

    def __init__(self):
        super().__init__()
        self.stem, self.qkv, self.out = nn.Linear(6, 16), nn.Linear(16, 96), nn.Linear(32, 16)
        self.up, self.down, self.head = nn.Linear(16, 24), nn.Linear(24, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.stem(x)
        q, k, v = (part.view(*x.shape[:2], 4, 8).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return self.head(x + self.down(torch.relu(self.up(x))))


def test_what_was_removed_before_counts_whatever_went_in_between():
    torch.manual_seed(0)
    graph = gs.trace(FusedAttention().eval(), torch.randn(2, 5, 6))
    sizes = []
    for granularity in (Channels(1), Heads(), Channels(1), Heads(), Channels(1)):
        graph = gs.Prune(0.75 if isinstance(granularity, Heads) else 0.5, granularity)(graph, TASK)
        sizes.append([tuple(p.shape) for p in graph.parameters()])
    assert sizes[0] != sizes[1] == sizes[2] == sizes[3] == sizes[4]
    assert shape(graph, "qkv.weight") == (3 * 1 * 4, 8)


def test_explain_shows_the_groups():
    class Quick(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 20), nn.Linear(20, 3)

        def forward(self, x):
            return self.two(torch.relu(self.one(x)))

    inputs = torch.randn(8, 6)
    result = gs.compress(Quick(), gs.Task(calib=[inputs]), [gs.Prune(0.5, Channels(1))])
    head, one, two = result.explain().splitlines()
    assert one.split()[:5] == ["one", "channels", "20", "->", "10"]
    assert two.endswith("stays: output of the network")
    assert head.startswith("group")
