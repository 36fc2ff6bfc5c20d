"""Which channels move together, operator by operator, and what cannot be followed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from masked import differences
from torch import Tensor, nn

import gossamer as gs
from gossamer.errors import GraphError
from gossamer.graph import analyse, check, remove_units
from gossamer.graph.channels.ids import Dim, Ids


class Net(nn.Module):
    """Layers by name, and a forward given as a function of them."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            if isinstance(layer, Tensor) and not isinstance(layer, nn.Parameter):
                self.register_buffer(name, layer)
            else:
                setattr(self, name, layer)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def groups(forward, example=None, **layers):
    graph = gs.trace(Net(forward, **layers), torch.randn(2, 6) if example is None else example)
    return gs.channel_groups(graph)


def free(found):
    return {group.name: group.units for group in found if group.refused is None}


def refusals(found):
    return {group.name: group.refused for group in found if group.refused is not None}


A, B, C = (lambda: nn.Linear(6, 8)), (lambda: nn.Linear(8, 8)), (lambda: nn.Linear(8, 3))

# What becomes of the 8 neurons of "a" between it and "c", whose outputs are the network's.
BETWEEN = {
    "relu": (lambda n, x: torch.relu(x), 8),
    "residual": (lambda n, x: x + n.b(x), 8),
    "flip": (lambda n, x: x.flip(1), 8),
    "roll": (lambda n, x: x.roll(1, 1), "roll"),
    "sorted": (lambda n, x: x.sort(1)[0], "sort"),
    "running sum": (lambda n, x: x.cumsum(1), "cumsum"),
    "largest": (lambda n, x: x * x.argmax(1, keepdim=True), "argmax"),
    "unknown operator": (lambda n, x: torch.linalg.svd(x[:, None])[2][:, 0], "svd"),
    "softmax": (lambda n, x: x.softmax(1), 8),
    "pairs by a view": (lambda n, x: x.view(-1, 4, 2).flip(2).reshape(-1, 8), {"a": 4, "a (2)": 2}),
    "halves": (lambda n, x: torch.cat([x[:, :4] * torch.sigmoid(x[:, 4:])] * 2, 1), 4),
    "chunks": (lambda n, x: torch.cat(x.chunk(2, 1)[::-1], 1), {"a": 4, "a (2)": 4}),
    "permutation by a constant": (lambda n, x: x[:, n.order], 8),
    "permutation of rows by a constant": (lambda n, x: x.index_select(1, n.order), 8),
    "one channel named": (lambda n, x: x * x[:, 3:4], {"a": 7}),
    "one channel selected": (lambda n, x: x * x.select(1, 3)[:, None], {"a": 7}),
    "repeated": (lambda n, x: x.repeat(1, 2)[:, :8] + x, 8),
    "layer norm": (lambda n, x: F.layer_norm(x, (8,)), 8),
    "group norm": (lambda n, x: F.group_norm(x, 4), {"a": 4, "a (2)": 2}),
    "outer product": (
        lambda n, x: (x[:, :, None] * x[:, None, :]).flatten(1)[:, :8] + x,
        "parts that do not fit together in add",
    ),
    "added to the input": (lambda n, x: x + n.input, "input 'x'"),
    "gathered": (lambda n, x: x.gather(1, torch.zeros_like(x, dtype=torch.int64)), "gather"),
    "expanded constant": (lambda n, x: x + torch.zeros(8), 8),
    "padded and cut": (lambda n, x: F.pad(x, (2, 1))[:, 2:10] + x, 8),
    "cut by padding": (lambda n, x: F.pad(F.pad(x, (0, 2)), (0, -2)) + x, 8),
    "shifted by padding": (lambda n, x: F.pad(x, (-1, 1)) + x, "nothing would be left"),
    "every second": (lambda n, x: x[:, ::2].repeat_interleave(2, 1) + x, {"a": 4}),
    "every second, and the others": (
        lambda n, x: torch.cat([x[:, ::2], torch.relu(x[:, 1::2])], 1),
        {"a": 4, "a (2)": 4},
    ),
    "an empty part": (lambda n, x: torch.cat([x[:, 8:], x], 1) + x, 8),
    "one slope": (lambda n, x: F.prelu(x, n.one[:1]), 8),
    "slopes": (lambda n, x: F.prelu(x, n.a.bias), 8),
    "pooled without a batch": (
        lambda n, x: F.avg_pool2d(x[:, :, None], (3, 1), 1, (1, 0))[:, :, 0],
        "positions",
    ),
    "pooled": (lambda n, x: F.avg_pool1d(x[:, :, None], 3, 1, 1)[:, :, 0], 8),
    "pooled along another": (lambda n, x: F.avg_pool2d(torch.stack([x, x * 2], 1), (2, 1))[:, 0], 8),
    "resampled": (lambda n, x: F.interpolate(x[:, :, None], scale_factor=2.0)[:, :, 1], 8),
    "batch norm": (lambda n, x: F.batch_norm(x, n.mean, n.mean + 1, n.a.bias), 8),
    "instance norm": (lambda n, x: F.instance_norm(x[:, :, None] * n.one).amax(2) + x, 8),
    "largest value": (lambda n, x: x * x.max(1, keepdim=True)[0], 8),
    "matrix times vector": (lambda n, x: x * torch.mv(x, n.order.float())[:, None], 8),
    "distances": (
        lambda n, x: x * torch.cdist(x, x, 2.0, "donot_use_mm_for_euclid_dist").sum(1, keepdim=True),
        8,
    ),
    "similarity": (lambda n, x: x * F.cosine_similarity(x, torch.relu(x), 1)[:, None], 8),
    "tensordot": (lambda n, x: torch.tensordot(x, n.b.weight, ([1], [1])) + x, 8),
    "einsum with dots": (lambda n, x: torch.einsum("...i,oi->...o", x, n.b.weight) + x, 8),
    "einsum over all": (lambda n, x: x * torch.einsum("...i,...i", x, x)[:, None], 8),
    "complex numbers": (
        lambda n, x: torch.view_as_real(
            torch.view_as_complex(x.view(-1, 4, 2)) * torch.polar(n.one, n.one)
        ).flatten(1),
        4,
    ),
    "written into": (lambda n, x: (x * 1).index_put((torch.tensor([0]),), n.a.bias) * x, 8),
    "norms of weights": (lambda n, x: F.linear(x, torch._weight_norm(n.b.weight, n.scale, 0)) + x, 8),
    "half of the channels by a mean": (
        lambda n, x: torch.cat([x[:, :4], x[:, 4:] - x[:, 4:].mean(1, True)], 1),
        {"a": 4, "a (2)": 4},
    ),
    "places": (lambda n, x: x + torch.arange(8), "arange"),
}


def removed_is_masked(analysis):
    keep = {g.name: torch.arange(g.units) % 3 != 1 for g in analysis.groups if g.refused is None}
    small = remove_units(analysis, keep)
    check(small)
    gone = [analysis.named(name).ids[~mask.numpy()] for name, mask in keep.items()]
    inputs = (torch.randn(2, 6, dtype=torch.float64),)
    gaps = differences(analysis.flow, np.concatenate([np.zeros(0, int), *gone]), small, inputs)
    assert max(gaps.values()) < 1e-10, gaps


@pytest.mark.parametrize("name", BETWEEN)
def test_between_two_layers(name):
    between, expected = BETWEEN[name]

    def forward(n, x):
        n.input = F.pad(x, (0, 2))
        return n.c(between(n, n.a(x)))

    order, one = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4]), torch.rand(4)
    mean = torch.rand(8)
    scale = nn.Parameter(torch.rand(8, 1))
    graph = gs.trace(
        Net(forward, a=A(), b=B(), c=C(), order=order, one=one, scale=scale, mean=mean), torch.randn(2, 6)
    )
    graph = graph.double().eval()
    analysis = analyse(graph)
    assert not analysis.flow.lost
    removed_is_masked(analysis)
    found = analysis.groups
    if isinstance(expected, str):
        assert expected in refusals(found)["a"]
    else:
        assert {k: v for k, v in free(found).items() if k[0] == "a"} == (
            expected if isinstance(expected, dict) else {"a": expected}
        )


def test_the_outputs_are_protected():
    found = groups(lambda n, x: (n.a(x), n.c(torch.relu(n.b(n.a(x))))), a=A(), b=B(), c=C())
    assert refusals(found) == {"a": "output of the network", "c": "output of the network"}
    assert free(found) == {"b": 8}


def test_members_name_every_slice():
    group = groups(lambda n, x: n.c(torch.relu(n.norm(n.a(x)))), a=A(), norm=nn.BatchNorm1d(8), c=C())[0]
    places = {(m.weight, m.axis) for m in group.members}
    assert places == {
        *(("a.weight", 0), ("a.bias", 0), ("c.weight", 1)),
        *((f"norm.{name}", 0) for name in ("weight", "bias", "running_mean", "running_var")),
    }
    assert group.layers == ("a",)
    assert group.parameters == 8 * 6 + 8 + 8 * 3 + 8 + 8
    for member in group.members:
        assert member.indices.tolist() == member.units.tolist() == list(range(8))
        assert member.makes == (member.weight == "a.weight")


def test_heads_and_dimensions_are_two_choices_over_the_same_weights():
    layer = nn.TransformerEncoderLayer(8, 4, 16, batch_first=True)
    found = gs.channel_groups(gs.trace(nn.Sequential(layer, nn.Linear(8, 2)), torch.randn(2, 5, 8)))
    kinds = {(group.kind, group.units) for group in found if group.name.startswith("0.self_attn.in_proj")}
    assert kinds == {("heads", 4), ("channels", 2)}


def test_removing_shrinks_and_keeps_the_input_whole():
    graph = gs.trace(Net(lambda n, x: n.c(torch.relu(n.a(x))), a=A(), c=C()), torch.randn(2, 6))
    kept = torch.tensor([True, False] * 4)
    small = remove_units(analyse(graph), {"a": kept})
    check(small)
    assert small.get_submodule("a").weight.shape == (4, 6)
    assert torch.equal(small.get_submodule("c").weight, graph.get_submodule("c").weight[:, ::2])
    assert graph.get_submodule("a").weight.shape == (8, 6)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"c": torch.zeros(3, dtype=torch.bool)}, "'c' cannot be pruned: output of the network"),
        ({"a": torch.zeros(8, dtype=torch.bool)}, "all units of 'a' would be removed"),
        ({"a": torch.ones(5, dtype=torch.bool)}, r"'a' has 8 units; the choice has shape \(5,\)"),
    ],
)
def test_impossible_choices(keep, message):
    graph = gs.trace(Net(lambda n, x: n.c(torch.relu(n.a(x))), a=A(), c=C()), torch.randn(2, 6))
    with pytest.raises(GraphError, match=message):
        remove_units(analyse(graph), keep)


def test_ids_that_are_split_in_two_ways():
    ids = Ids()
    whole = Dim(ids.fresh(12))
    rows, columns = ids.fresh(3)[:, 0], ids.fresh(4)[:, 0]
    for place, one in enumerate(whole.ids[:, 0].tolist()):
        ids.split(one, [rows[place // 4], columns[place % 4]])
    assert ids.resolve(whole.ids).shape == (12, 2)
    ids.tie(whole, Dim(ids.fresh(12)), "a sum")
    other = Dim(ids.fresh(12))
    ids.tie(other, whole, "a sum")
    assert (ids.resolve(other.ids) == ids.resolve(whole.ids)).all()
    ids.pin(columns[:1, None], "because")
    assert [ids.reason(int(i)) for i in ids.resolve(other.ids)[0]] == [None, "because"]


def test_sizes_that_shrink_by_themselves_and_whole_slices():
    """Heads in the batch dimension, whose size is read off tensors; layouts that a view could not take."""

    def forward(n, x):
        q = n.a(x).view(-1, 2, 4, 2).permute(2, 0, 1, 3).reshape(-1, 2, 2)
        many = q.shape[0]
        q = (q[:] @ q.transpose(1, 2).reshape(many, 2, 2)).view(many, 4)
        return n.c(q.view(4, -1, 4).permute(1, 2, 0).reshape(-1, 16))

    net = Net(forward, a=nn.Linear(6, 16), c=nn.Linear(16, 3))
    analysis = analyse(gs.trace(net, torch.randn(2, 6)).double().eval())
    assert any(group.refused is None for group in analysis.groups)
    removed_is_masked(analysis)
