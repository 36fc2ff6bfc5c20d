"""Batch norm folded in quantization-aware training: against the formulas of the papers, written out."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gossamer as gs
from gossamer.graph import check, effective, from_state, replace_transform, to_state, transforms
from gossamer.onnx import lower
from gossamer.quantize import (
    GPTQ,
    AdaRound,
    CorrectBias,
    FakeQuantize,
    FoldedQuantize,
    FreezeBatchNorm,
    Int,
    Learned,
    PerGroup,
    PerTensor,
    Quantize,
    Rounding,
)
from gossamer.quantize.types import Grid

NETWORKS = {
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)),
        (16, 3, 7, 7),
        PerTensor(),
    ),
    "depthwise, biased": (
        lambda: nn.Sequential(nn.Conv1d(6, 6, 3, groups=6), nn.BatchNorm1d(6)),
        (16, 6, 9),
        PerTensor(),
    ),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 2, bias=False), nn.BatchNorm2d(6)),
        (16, 3, 5, 5),
        PerTensor(),
    ),
    "linear, groups": (lambda: nn.Sequential(nn.Linear(20, 6), nn.BatchNorm1d(6)), (32, 20), PerGroup(8)),
}


@pytest.fixture(params=NETWORKS)
def case(request):
    """A layer and its batch norm, one gamma negative and one zero, quantized to few bits; inputs; the plain graph."""
    torch.manual_seed(2)
    build, shape, granularity = NETWORKS[request.param]
    network = build()
    with torch.no_grad():
        nn.init.uniform_(network[1].weight, 0.3, 2.0)
        nn.init.normal_(network[1].bias)
        network[1].weight[:2] = torch.tensor([-0.7, 0.0])
    for _ in range(5):
        network(2 * torch.randn(shape) + 0.3)
    x = torch.randn(shape)
    plain = gs.trace(network.eval(), x)
    quantize = Quantize(weights=Int(4, granularity), activations=None)
    return plain, quantize(plain, gs.Task(calib=[x])), x


def statistics(y, channels=1):
    dims = [d for d in range(y.ndim) if d != channels]
    return y.mean(dims), y.var(dims, correction=0)


def wide(values, ndim, axis=1):
    return values.view([-1 if d == axis else 1 for d in range(ndim)])


def test_a_batch_is_corrected_as_the_papers_say(case):
    plain, folded, x = case
    (step,) = transforms(folded, "0.weight")
    assert isinstance(step, FoldedQuantize)
    gamma, beta, eps = folded.get_parameter("1.weight"), folded.get_parameter("1.bias"), 1e-5
    sigma = (folded.get_buffer("1.running_var") + eps).sqrt().clone()
    axis = step.channel_axis
    weight = plain.get_parameter("0.weight")
    alive = torch.where(gamma == 0, 1.0, gamma / sigma)
    quantized = step.folded(weight * wide(alive, weight.ndim, axis))  # Q(f W)
    reference = copy.deepcopy(plain)
    with torch.no_grad():
        reference.get_parameter("0.weight").copy_(quantized)
    bias = dict(reference.named_parameters()).get("0.bias")
    if bias is not None:
        with torch.no_grad():
            bias.zero_()
    product = _product(reference, x)
    original_bias = dict(plain.named_parameters()).get("0.bias", torch.zeros(6))
    mean, variance = statistics(product / wide(alive, product.ndim) + wide(original_bias, product.ndim))
    batch = (variance + eps).sqrt()
    ratio = torch.where(gamma == 0, 0.0, sigma / batch)
    expected = product * wide(ratio, product.ndim) + wide(
        beta + gamma * (original_bias - mean) / batch, product.ndim
    )
    assert torch.allclose(copy.deepcopy(folded).train()(x), expected, atol=1e-5)


def _product(graph, x):
    """What the first layer of ``graph`` makes of ``x``."""
    node = next(n for n in graph.graph.nodes if "batch_norm" in str(n.target)).args[0]
    value = {}

    class Upto(torch.fx.Interpreter):
        def run_node(self, n):
            value[n] = super().run_node(n)
            return value[n]

    Upto(graph).run(x, enable_io_processing=False)
    return value[node]


def test_without_rounding_it_is_batch_norm_with_its_gradients(case):
    plain, folded, x = case
    (step,) = transforms(folded, "0.weight")
    fine = FakeQuantize.on(
        Grid(-(2**23), 2**23, True), step.rows, torch.full_like(step.scale, 2.0**-20), step.zero_point
    )
    fine = FoldedQuantize.around(fine, step.factor, step.channel_axis)
    replace_transform(folded, "0.weight", 0, fine)
    target = torch.randn_like(plain(x))
    gradients = []
    for graph, weight in ((plain, "0.weight"), (folded, "0.parametrizations.weight.original")):
        y = graph.train()(x)
        F.mse_loss(y, target).backward()
        names = (weight, "1.weight", "1.bias")
        gradients.append([y.detach(), *(graph.get_parameter(name).grad for name in names)])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=2e-5)
    for name in ("1.running_mean", "1.running_var"):
        assert torch.allclose(plain.get_buffer(name), folded.get_buffer(name), atol=1e-5)


def test_frozen_it_is_the_network_that_ships(case):
    _, folded, x = case
    for _ in range(3):
        folded.train()(torch.randn_like(x))
    frozen = FreezeBatchNorm()(folded, gs.Task())
    before = {name: value.clone() for name, value in frozen.named_buffers() if "running" in name}
    training = frozen.train()(x).detach()
    assert all(torch.equal(value, frozen.get_buffer(name)) for name, value in before.items())
    program = lower(frozen)
    assert not [o for o in program.operations if o.op == "BatchNormalization"]
    shipped = torch.from_numpy(gs.Engine(program)(x.numpy()))
    assert torch.allclose(training, shipped, atol=2e-5)
    assert torch.allclose(frozen.eval()(x), shipped, atol=2e-5)
    again = from_state(to_state(folded))
    assert torch.equal(again.eval()(x), folded.eval()(x))


def test_the_factor_follows_the_moving_statistics(case):
    _, folded, x = case
    check(folded)
    before = effective(folded, "0.weight").clone()
    for _ in range(20):
        folded.train()(5 * x)
    (step,) = transforms(folded, "0.weight")
    folded.eval()(x)
    gamma, variance = folded.get_parameter("1.weight"), folded.get_buffer("1.running_var")
    wanted = torch.where(gamma == 0, 1.0, gamma / (variance + 1e-5).sqrt())
    assert torch.allclose(step.factor, wanted)
    assert not torch.equal(before, effective(folded, "0.weight"))


@pytest.mark.parametrize(
    "after", [GPTQ(), AdaRound(Rounding(iterations=5)), CorrectBias(), Quantize(activations=None)], ids=str
)
def test_what_works_on_the_shipped_weights_folds_first(after):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(100, 3))
    x = torch.randn(8, 3, 7, 7)
    for _ in range(5):
        network(torch.randn(8, 3, 7, 7))
    task = gs.Task(calib=[x])
    graph = gs.trace(network, x)
    aware = Quantize(weights=Int(4, PerTensor()), activations=None, training=Learned())(graph, task)
    better = after(aware, task)
    check(better)
    wanted = better.eval()(x).detach()
    assert not any(isinstance(step, FoldedQuantize) for step in transforms(better, "0.weight"))
    assert torch.allclose(torch.from_numpy(gs.Engine(lower(better))(x.numpy())), wanted, atol=1e-4)
