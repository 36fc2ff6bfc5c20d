"""Criteria by second derivatives, against brute force: Taylor, OBD, OBS, GraSP."""

import math

import pytest
import torch
import torch.nn.functional as F
from criteria_cases import (
    NAMES,
    close,
    everything,
    flat,
    gradient_and_hessian,
    weights,
)
from torch import nn

import gossamer as gs
from gossamer.errors import RecipeError
from gossamer.graph import effective
from gossamer.prune import (
    OBD,
    OBS,
    GraSP,
    Taylor,
)
from gossamer.prune.criteria import curvature


class Attention(nn.Module):
    """Two heads, by torch's fused operator or by its formula."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused, self.qkv, self.fc = fused, nn.Linear(4, 24), nn.Linear(8, 3)

    def forward(self, x):
        q, k, v = self.qkv(x.view(-1, 2, 4)).view(-1, 2, 3, 2, 4).permute(2, 0, 3, 1, 4)
        by_formula = (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v
        mixed = F.scaled_dot_product_attention(q, k, v) if self.fused else by_formula
        return self.fc(mixed.transpose(1, 2).flatten(2).mean(1))


@pytest.mark.parametrize(
    "by",
    [Taylor(order=2), OBD(), OBS(examples=6, block=16), OBS(examples=6, block=16, empirical=True), GraSP()],
    ids=repr,
)
def test_second_derivatives_of_fused_attention(by):
    scores = []
    generator = torch.Generator().manual_seed(3)
    batch = torch.randn(6, 8, generator=generator, dtype=torch.float64), torch.arange(6) % 3
    task = gs.Task(train=[batch], loss=F.cross_entropy)
    for fused in (True, False):
        torch.manual_seed(5)
        traced = gs.trace(Attention(fused).double(), batch[0])
        scores.append(by.elements(traced, task, ["qkv.weight"])["qkv.weight"])
    close(*scores, tolerance=1e-6)


class Gated(nn.Module):
    """A hard sigmoid, as torch's operator (in place or not) or by its formula."""

    def __init__(self, gate):
        super().__init__()
        self.gate, self.one, self.two = gate, nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.two(self.gate(self.one(x)))


@pytest.mark.parametrize("by", [Taylor(order=2), OBD(), GraSP()], ids=repr)
def test_second_derivatives_of_hard_sigmoid(by):
    scores = []
    generator = torch.Generator().manual_seed(3)
    batch = 3 * torch.randn(6, 8, generator=generator, dtype=torch.float64), torch.arange(6) % 3
    task = gs.Task(train=[batch], loss=F.cross_entropy)
    for gate in (lambda x: F.relu6(x + 3) / 6, nn.Hardsigmoid(), nn.Hardsigmoid(inplace=True)):
        torch.manual_seed(5)
        traced = gs.trace(Gated(gate).double(), batch[0])
        scores.append(by.elements(traced, task, ["one.weight"])["one.weight"])
    close(scores[0], scores[1], tolerance=1e-6)
    close(scores[0], scores[2], tolerance=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_taylor(net, graph, task, batches, order):
    expected = 0
    for batch in batches:
        g, h, w = gradient_and_hessian(net, batch)
        change = g * w - (w * (h @ w) / 2 if order == 2 else 0)
        expected = expected + change**2 / len(batches)
    close(flat(Taylor(order=order).elements(graph, task, NAMES)), expected)


def test_grasp(net, graph, task, batches):
    g, h, w = gradient_and_hessian(net, everything(batches), temperature=7.0)
    close(flat(GraSP(temperature=7.0).elements(graph, task, NAMES)), w * (h @ g))


def gauss_newton(net, inputs):
    """The diagonal of J^T H J, H of the cross entropy's mean at the outputs."""
    before = weights(net)

    def outputs(vector):
        parts = torch.split(vector, [value.numel() for value in before.values()])
        first, second = (p.view(before[n].shape) for n, p in zip(before, parts, strict=True))
        return F.linear(torch.tanh(F.linear(inputs, first, net.fc1.bias)), second, net.fc2.bias)

    at = flat(before)
    p, jacobian = outputs(at).softmax(1), torch.autograd.functional.jacobian(outputs, at)
    bend = (torch.diag_embed(p) - p.unsqueeze(1) * p.unsqueeze(2)) / len(inputs)
    return torch.einsum("nij,nik,nkj->j", jacobian, bend, jacobian)


def test_obd_tends_to_the_diagonal_of_the_gauss_newton_matrix(net, graph, task, batches):
    """The square of a sum of random signs has at most twice the variance of its mean's square."""
    expected = gauss_newton(net, everything(batches)[0]) * flat(weights(net)) ** 2 / 2
    probes = 400
    found = flat(OBD(probes=probes).elements(graph, task, NAMES))
    assert bool(((found - expected).abs() <= 6 * math.sqrt(2 / probes) * expected).all())


def test_obd_is_exact_where_each_weight_has_an_output_of_its_own():
    line = nn.Linear(1, 3, bias=False).double()
    x = torch.tensor([[2.0]], dtype=torch.float64)
    squares = gs.Task(train=[(x, x), (x / 2, x)], loss=lambda y, _: y.square().sum(1).mean())
    found = OBD(probes=1).elements(gs.trace(line, x), squares, ("weight",))["weight"]
    close(found, line.weight.detach() ** 2 * 2.5)


def test_obd_asks_for_a_loss_that_is_curved(graph, batches):
    task = gs.Task(train=batches, loss=lambda outputs, _: outputs.mean())
    with pytest.raises(RecipeError, match=r"linear in the network's outputs.*Taylor"):
        OBD().elements(graph, task, NAMES)


def test_root_of_a_matrix():
    torch.manual_seed(1)
    half, vector = torch.randn(8, 5, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    matrix = half @ half.T  # of rank 5
    once = curvature.root(matrix.mv, vector, 8)
    close(curvature.root(matrix.mv, once, 8), matrix @ vector, tolerance=1e-6)
    assert (
        not curvature.root((-matrix).mv, vector, 8).any()
        and not curvature.root((0 * matrix).mv, vector, 8).any()
    )


def fisher_of(net, batches, block, damping, size=35):
    """The matrix of the first ``size`` weights, zero outside the blocks of each layer."""
    inputs, targets = everything(batches)
    rows = [gradient_and_hessian(net, (inputs[i : i + 1], targets[i : i + 1]))[0] for i in range(len(inputs))]
    full = sum(torch.outer(g, g) for g in rows) / len(rows)
    places = [(name, i // block) for name in NAMES for i in range(weights(net)[name].numel())]
    same = torch.tensor([[a == b for a in places] for b in places])
    first = (full * same)[:size, :size]
    return first + damping * first.diagonal().mean() * torch.eye(size, dtype=torch.float64)


@pytest.mark.parametrize("block", [4, 64])
def test_obs_scores(net, graph, task, batches, block):
    inverse = torch.linalg.inv(fisher_of(net, batches, block, 1e-3))
    w = flat(weights(net))
    found = flat(OBS(block=block, damping=1e-3, empirical=True).elements(graph, task, NAMES))
    close(found, w**2 / (2 * inverse.diagonal()), 1e-6)


def test_obs_tends_to_the_inverse_of_the_gauss_newton_matrix(net, graph, batches):
    """In blocks of one weight; 3,000 samples."""
    curvature = gauss_newton(net, everything(batches)[0])
    expected = (curvature + 0.1 * curvature.mean()) * flat(weights(net)) ** 2 / 2
    task = gs.Task(train=batches * 250, loss=F.cross_entropy)
    found = flat(OBS(examples=3000, batches=None, block=1, damping=0.1).elements(graph, task, NAMES))
    assert bool(((found - expected).abs() <= 6 * math.sqrt(2 / 3000 * 6) * expected).all())


def test_obs_without_curvature_takes_the_smallest(graph, batches):
    task = gs.Task(train=batches, loss=lambda outputs, _: 0 * outputs.square().mean())
    scores = OBS().elements(graph, task, NAMES)["fc1.weight"]
    close(scores, effective(graph, "fc1.weight") ** 2 / 2)


def test_obs_updates_for_one_weight_as_hassibi_and_stork(net, graph, task, batches):
    by = OBS(block=64, damping=1e-3, empirical=True)
    pruned = gs.Prune(1 / 20, by=by, overrides={"fc2": 0.0})(graph, task)
    w = effective(graph, "fc1.weight").flatten()
    q = int(by.elements(graph, task, ["fc1.weight"])["fc1.weight"].argmin())
    inverse = torch.linalg.inv(fisher_of(net, batches, 64, 1e-3, size=20))
    expected = w - w[q] / inverse[q, q] * inverse[:, q]
    found = effective(pruned, "fc1.weight").flatten()
    assert found[q] == 0
    close(found, expected, 1e-6)


def test_obs_updates_for_many_are_the_constrained_minimum(net, graph, task, batches):
    pruned = gs.Prune(0.5, by=OBS(block=10, damping=1e-3, empirical=True))(graph, task)
    w, found = (flat({n: effective(g, n) for n in NAMES}) for g in (graph, pruned))
    fisher = fisher_of(net, batches, 10, 1e-3)
    gone, change = found == 0, found - w
    # The gradient of change' F change vanishes along every weight that was free to move.
    assert int(gone.sum()) == 18
    assert float((fisher @ change)[~gone].abs().max()) < 1e-9 * float(fisher.abs().max())
