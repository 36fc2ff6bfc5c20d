"""Ternary, binary, power-of-two and fixed-point weights: the papers' formulas, training, files, the Engine."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gossamer as gs
from gossamer import artifact, weights
from gossamer.errors import RecipeError
from gossamer.graph import effective, original, record, represent, transforms
from gossamer.graph.transform import settle
from gossamer.onnx import lower
from gossamer.quantize import (
    TTQ,
    TWN,
    Binary,
    BinaryConnect,
    First,
    FixedPoint,
    FixedPointWeight,
    Last,
    MeanMagnitude,
    PerChannel,
    PowersOfTwo,
    Ternary,
    TrainedTernary,
)
from gossamer.recipe import Halving
from gossamer.task import Task
from gossamer.train import SGD, Constant


class Blocks(nn.Module):
    """Norm, product, in XNOR-Net's order and in the usual one."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 40, 3, padding=1, bias=False)
        self.after = nn.BatchNorm2d(40)
        self.hidden = nn.Linear(40 * 9, 33)
        self.fc = nn.Linear(33, 4)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.max_pool2d(F.relu(self.after(self.conv(x))), 2)
        return self.fc(F.relu(self.hidden(x.flatten(1))))


@cache
def traced():
    return gs.trace(Blocks(), torch.randn(2, 1, 6, 6)).eval()


@pytest.fixture
def graph():
    torch.manual_seed(3)
    return copy.deepcopy(traced())


def task(count=24):
    torch.manual_seed(5)
    x = torch.randn(count, 1, 6, 6)
    y = (x.mean((1, 2, 3)) * 20).clamp(-2, 1).round().long() + 2
    return Task(train=[(x, y)], valid=[(x, y)], loss=F.cross_entropy)


def passed(graph, *passes):
    for each in passes:
        graph = each(graph, task())
    return graph


def values_of(weight):
    return sorted(set(weight.flatten().tolist()))


# --- formulas ---


def test_twn_is_its_formula():
    w = torch.randn(6, 50)
    limit = 0.7 * w.abs().mean()
    scale = w[w.abs() > limit].abs().mean()
    wanted = torch.where(w.abs() > limit, w.sign() * scale, 0.0)
    torch.testing.assert_close(Ternary(0.7, -1, 0)(w), wanted)
    by_row = Ternary(0.7, 0, 0)(w)
    torch.testing.assert_close(by_row[2], Ternary(0.7, -1, 0)(w[2]))


def test_removed_weights_count_in_no_mean():
    w = torch.randn(4, 30)
    thin = torch.cat([w, torch.zeros(4, 70)], 1)
    for transform in (Ternary(0.7, 0, 0), Binary(0.0, 0, 0, stochastic=False)):
        torch.testing.assert_close(transform(thin)[:, :30], transform(w))
        assert not transform(thin)[:, 30:].any()


def test_ttq_trains_its_levels_and_scales_gradients():
    w = torch.tensor([-1.0, -0.3, 0.02, 0.5, 0.9], requires_grad=True)
    t = TrainedTernary(torch.tensor(0.75), torch.tensor(0.5), 0.1)
    value = t(w)
    assert torch.equal(value, torch.tensor([-0.5, -0.5, 0.0, 0.75, 0.75]))
    value.backward(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert torch.equal(w.grad, torch.tensor([0.5, 1.0, 3.0, 3.0, 3.75]))
    assert float(t.positive.grad) == 9.0 and float(t.negative.grad) == -3.0


def test_xnor_scale_is_the_nearest_and_has_its_gradient():
    w = torch.randn(3, 20, requires_grad=True)
    value = Binary(0.0, 0, 0, stochastic=False)(w)
    torch.testing.assert_close(value, w.sign() * w.abs().mean(1, keepdim=True))
    upstream = torch.randn(3, 20)
    value.backward(upstream)
    scale = w.detach().abs().mean(1, keepdim=True)
    mean = (upstream * w.detach().sign()).mean(1, keepdim=True)
    torch.testing.assert_close(w.grad, upstream * scale + mean * w.detach().sign())


def test_stochastic_signs_have_the_hard_sigmoid_for_their_probability():
    torch.manual_seed(0)
    w = torch.tensor([-2.0, -0.5, 0.1, 0.5, 1.0])
    t = Binary(1.0, -1, 0, stochastic=True)
    drawn = torch.stack([t(w) for _ in range(4000)])
    assert set(drawn.flatten().tolist()) == {-1.0, 1.0}
    np.testing.assert_allclose((drawn > 0).float().mean(0), [0, 0.25, 0.55, 0.75, 1], atol=0.04)
    assert torch.equal(t.eval()(w), w.sign())


def test_powers_of_two_are_inq_equation_1_and_4(graph):
    graph = PowersOfTwo(bits=5)(graph, task())
    w, q = original(graph, "hidden.weight").detach(), effective(graph, "hidden.weight")
    top = np.floor(np.log2(4 * float(w.abs().max()) / 3))
    allowed = {0.0} | {s * 2.0**n for s in (-1, 1) for n in np.arange(top - 7, top + 1)}
    assert set(values_of(q)) <= allowed
    levels = np.array(sorted(allowed))
    nearest = levels[np.abs(w.numpy()[..., None] - levels).argmin(-1)]
    np.testing.assert_array_equal(q.numpy(), nearest)


def test_fixed_point_rounds_by_chance_right_on_average():
    t, chance = FixedPointWeight(8, 4, stochastic=True), torch.Generator().manual_seed(0)
    w = torch.full((20000,), 0.3)
    t.settle(w, chance)
    assert set((w * 16).tolist()) == {4.0, 5.0}
    assert abs(float(w.mean()) - 0.3) < 2e-3
    saturated = torch.tensor([100.0, -100.0])
    t.settle(saturated, chance)
    assert saturated.tolist() == [127 / 16, -8.0]


# --- training ---


def test_binary_connect_clips_what_trains(graph):
    bound = 0.0625
    binary = gs.Binarize(BinaryConnect(bound))(graph, task())
    trained = gs.Finetune(2, optimizer=SGD(lr=5.0), schedule=Constant())(binary, task())
    for name in ("conv.weight", "hidden.weight"):
        assert float(original(trained, name).detach().abs().max()) <= bound
        assert values_of(effective(trained, name)) == pytest.approx([-bound, bound])
    assert not torch.equal(effective(binary, "conv.weight"), effective(trained, "conv.weight"))


def test_low_precision_training_stalls_unless_it_rounds_by_chance(graph):
    """Updates of less than half a step are lost by rounding to the nearest (Gupta et al. 2015, section 4.1)."""
    small = gs.Finetune(3, optimizer=SGD(lr=1e-3), schedule=Constant())
    for stochastic, moves in ((False, False), (True, True)):
        fixed = FixedPoint(2, 6, stochastic)(graph, task())
        settle(fixed, ["hidden.weight"], torch.Generator().manual_seed(1))
        trained = small(fixed, task())
        on_grid = original(trained, "hidden.weight").detach() * 64
        assert torch.equal(on_grid, on_grid.round())
        assert torch.equal(effective(fixed, "hidden.weight"), effective(trained, "hidden.weight")) != moves


@pytest.mark.parametrize("recipe", [
    [gs.Ternarize()], [gs.Ternarize(TTQ())], [gs.Binarize(BinaryConnect(stochastic=True))],
    [gs.Binarize(activations=True, exempt=[First(), Last()])],
    [PowersOfTwo(share=0.5)],
])  # fmt: skip
def test_recipes_train_through(graph, recipe):
    start = passed(graph, *recipe)
    trained = gs.Finetune(15)(start, task())
    (x, y), *_ = task().train
    before, after = (F.cross_entropy(copy.deepcopy(g).train()(x), y) for g in (start, trained))
    assert after < before


def test_inq_freezes_the_largest_first_and_keeps_them(graph):
    half = PowersOfTwo(share=0.5)(graph, task())
    frozen = transforms(half, "hidden.weight")[-1].assignment != 0
    w = original(half, "hidden.weight").detach().abs()
    assert int(frozen.sum()) == frozen.numel() // 2 and w[frozen].min() >= w[~frozen].max()
    trained = gs.Finetune(3)(half, task())
    before, after = (effective(g, "hidden.weight") for g in (half, trained))
    assert torch.equal(before[frozen], after[frozen]) and not torch.equal(before[~frozen], after[~frozen])
    whole = PowersOfTwo()(trained, task())
    assert torch.equal(effective(whole, "hidden.weight")[frozen], before[frozen])
    assert isinstance(represent(whole, "hidden.weight"), weights.Codebook)


# --- placement ---


def test_a_relu_in_front_of_signs_is_left_out(graph):
    with record() as notes:
        binary = gs.Binarize(activations=True, exempt=[First(), Last()])(graph, task())
    said = " ".join(str(note) for note in notes)
    assert "left out" in said and "exempt" in said
    x = torch.randn(2, 1, 6, 6)
    net = copy.deepcopy(graph)
    norm, h = net.norm, F.conv2d(x, net.stem.weight, net.stem.bias, padding=1)
    h = F.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    w = net.conv.weight
    wb = w.sign() * w.abs().mean((1, 2, 3), keepdim=True)
    h = F.conv2d(torch.where(h >= 0, 1.0, -1.0), wb, padding=1)
    h = F.batch_norm(h, net.after.running_mean, net.after.running_var, net.after.weight, net.after.bias)
    h = torch.where(F.max_pool2d(h, 2).flatten(1) >= 0, 1.0, -1.0)
    w = net.hidden.weight
    h = F.relu(F.linear(h, w.sign() * w.abs().mean(1, keepdim=True), net.hidden.bias))
    torch.testing.assert_close(binary(x), F.linear(h, net.fc.weight, net.fc.bias))


class Shared(nn.Module):
    """A ReLU that a product and a sum read."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return x + self.conv(x)


def test_a_relu_with_other_readers_stays_for_them():
    torch.manual_seed(4)
    net, x = Shared(), torch.randn(3, 1, 5, 5)
    binary = gs.Binarize(activations=True, overrides={"stem": False})(gs.trace(net, x), Task())
    h, w = net.stem(x), net.conv.weight
    product = F.conv2d(
        torch.where(h >= 0, 1.0, -1.0), w.sign() * w.abs().mean((1, 2, 3), keepdim=True), padding=1
    )
    torch.testing.assert_close(binary(x), F.relu(h) + product)


def test_the_input_of_the_network_stays_float(graph):
    with record() as notes:
        binary = gs.Binarize(activations=True)(graph, task())
    assert any("stem" in str(note) and "network's" in str(note) for note in notes)
    assert sum(node.target is torch.ops.gossamer.binarize.default for node in binary.graph.nodes) == 3


@pytest.mark.parametrize("make", [
    lambda: PowersOfTwo(bits=1), lambda: PowersOfTwo(share=2.0), lambda: FixedPoint(0, 4), lambda: FixedPoint(8, 9),
    lambda: TWN(threshold=-1.0), lambda: TTQ(threshold=1.0), lambda: BinaryConnect(0.0), lambda: Halving(0),
])  # fmt: skip
def test_settings_without_sense_are_errors(make):
    with pytest.raises(RecipeError):
        make()


# --- files ---


@pytest.mark.parametrize(("recipe", "bits"), [
    (gs.Ternarize(), 1.65), (gs.Ternarize(TWN(PerChannel())), 1.65), (gs.Ternarize(TTQ()), 1.65),
    (gs.Binarize(), 1.1), (gs.Binarize(BinaryConnect()), 1.1), (gs.Binarize(MeanMagnitude(PerChannel())), 1.1),
    (PowersOfTwo(bits=3), 2.4),
])  # fmt: skip
def test_bytes_in_the_file_are_the_entropy_of_few_levels(recipe, bits):
    torch.manual_seed(1)
    net = gs.trace(nn.Linear(512, 256, bias=False), torch.randn(2, 512))
    program = lower(recipe(net, Task()))
    packed = artifact.pack(program)
    scales = 4 * 256 if "PerChannel" in repr(recipe) or recipe == gs.Binarize() else 0
    assert len(packed) - scales - 1500 < bits * 512 * 256 / 8
    shipped = weights.decode(artifact.unpack(packed).weights["weight"])
    np.testing.assert_array_equal(shipped, effective(recipe(net, Task()), "weight").numpy())


def test_the_engine_counts_bits_and_agrees_with_torch(graph):
    trained = passed(graph, gs.Binarize(activations=True, exempt=[First(), Last()]), gs.Finetune(2)).eval()
    engine = gs.Engine(artifact.unpack(artifact.pack(lower(trained))))
    x = torch.randn(5, 1, 6, 6)
    np.testing.assert_allclose(engine(x.numpy()), trained(x).detach().numpy(), rtol=1e-3, atol=1e-4)
    kernels = [step.kernel.split("/")[0] for step in engine.explain(x.numpy())]
    assert kernels.count("xnor") == 2
