"""What makes a quantized network better without training, each against the network before it."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from quantized_networks import trained
from torch import nn

import gossamer as gs
from gossamer import artifact
from gossamer.errors import RecipeError
from gossamer.graph import check, layers, original, record
from gossamer.measure.resources import LayerLatency
from gossamer.numerics.histogram import Histogram
from gossamer.onnx import load, lower, save
from gossamer.quantize import (
    GPTQ,
    AdaRound,
    CorrectBias,
    EqualizeLayers,
    Int,
    Int8,
    MixedPrecision,
    PerGroup,
    PerTensor,
    Quantize,
    ReconstructBlocks,
    ReestimateBatchNorm,
    Rounding,
    SmoothQuant,
    Timer,
    diagnose,
)
from gossamer.quantize.run import quantized_layers
from gossamer.quantize.segments import block_segments, layer_segments
from gossamer.report import write_diagnosis, write_trade_off
from gossamer.weights import Quantized, equal

WEIGHTS_ONLY = Quantize(weights=Int(3), activations=None)


@pytest.fixture(scope="module")
def residual():
    network, inputs = trained("residual")
    calib = [inputs(32) for _ in range(4)]
    return gs.trace(network, calib[0]), gs.Task(calib=calib), inputs(128)


def error(graph, other, x):
    with torch.no_grad():
        wanted, found = graph(x), other(x)
    return float((wanted - found).square().mean() / wanted.square().mean())


def integers(graph):
    return {name: w for name, w in lower(graph).weights.items() if isinstance(w, Quantized)}


@pytest.mark.parametrize(
    ("improve", "share"),
    [
        (AdaRound(Rounding(iterations=200)), 0.7),
        (ReconstructBlocks(Rounding(iterations=200)), 0.7),
        (GPTQ(), 0.85),
        (CorrectBias(), 0.98),
        (ReestimateBatchNorm(), 0.98),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_improves_three_bit_weights(residual, improve, share):
    graph, task, x = residual
    rounded = WEIGHTS_ONLY(graph, task)
    better = improve(rounded, task)
    check(better)
    assert error(graph, better, x) < share * error(graph, rounded, x)
    assert {w.bits for w in integers(better).values()} == {3}


def test_learned_rounding_moves_by_one_step_at_most(residual):
    graph, task, _ = residual
    rounded = WEIGHTS_ONLY(graph, task)
    with record() as notes:
        learned = AdaRound(Rounding(iterations=60))(rounded, task)
    kept = {note.subject for note in notes}  # rounding to the nearest was better there
    assert len(kept) < 4
    before, after = ({layer.name: layer for layer in quantized_layers(g)} for g in (rounded, learned))
    for name in before.keys() - kept:
        scale = before[name].transform.spread_for(original(rounded, name))[0]
        old, new = (original(g, name).detach() for g in (rounded, learned))
        assert bool(((old - new).abs() <= 1.001 * scale).all())
        again = after[name].transform(new)
        torch.testing.assert_close(again, new, rtol=1e-5, atol=1e-7)  # it lies on the grid


def test_masks_hold_through_gptq_and_adaround(residual):
    graph, task, _ = residual
    pruned = WEIGHTS_ONLY(gs.Prune(0.5)(graph, task), task)
    for improve in (GPTQ(), AdaRound(Rounding(iterations=20))):
        after = improve(pruned, task)
        for name, weight in integers(after).items():
            kept = pruned.get_parameter(name.replace("weight", "parametrizations.weight.original")).shape
            assert weight.ints.shape == kept and (weight.ints == 0).mean() >= 0.5


def test_segments_are_layers_and_residual_blocks(residual):
    graph, task, _ = residual
    rounded = WEIGHTS_ONLY(graph, task)
    assert [len(s.layers) for s in layer_segments(rounded)] == [1] * 7
    assert [len(s.layers) for s in block_segments(rounded)] == [1, 2, 3, 1]


def test_recurrences_are_blocks_and_left_by_what_needs_a_product():
    network, inputs = trained("recurrent")
    graph, task, x = gs.trace(network, inputs(2)), gs.Task(calib=[inputs(256)]), inputs(128)
    rounded = Quantize(weights=Int(2), activations=None)(graph, task)
    blocks = ReconstructBlocks(Rounding(iterations=200))(rounded, task)
    assert error(graph, blocks, x) < 0.7 * error(graph, rounded, x)
    for improve in (AdaRound(Rounding(iterations=20)), GPTQ(), CorrectBias()):
        with record() as notes:
            after = improve(rounded, task)
        assert {note.subject for note in notes} >= {"lstm.weight_ih_l0", "lstm.weight_hh_l0"}
        assert integers(after).keys() == integers(rounded).keys()


class Uneven(nn.Module):
    """Two convolutions whose channels differ a thousandfold, which cancels out."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)
        wide = torch.logspace(-2, 2, 8)
        with torch.no_grad():
            self.a.weight *= wide[:, None, None, None]
            self.a.bias *= wide
            self.b.weight /= wide[:, None, None, None]

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x))))).mean((2, 3))


def test_equalization_saves_weights_with_one_scale():
    torch.manual_seed(0)
    calib = [torch.randn(8, 3, 10, 10) for _ in range(2)]
    graph, task, x = gs.trace(Uneven().eval(), calib[0]), gs.Task(calib=calib), torch.randn(64, 3, 10, 10)
    equal = EqualizeLayers()(graph, task)
    assert error(graph, equal, x) < 1e-9
    per_tensor = Quantize(weights=Int8(PerTensor()))
    assert error(graph, per_tensor(equal, task), x) < 0.05 * error(graph, per_tensor(graph, task), x)
    first, second = (original(equal, layer.weight).abs().flatten(1).amax(1) for layer in layers(equal)[:2])
    torch.testing.assert_close(first, second, rtol=0.02, atol=0)


class Outliers(nn.Module):
    """A layer norm with a few channels a hundred times as large, read by two linear layers."""

    def __init__(self):
        super().__init__()
        self.norm, self.a, self.b = nn.LayerNorm(32), nn.Linear(32, 16), nn.Linear(32, 16)
        with torch.no_grad():
            self.norm.weight[:3] *= 100

    def forward(self, x):
        y = self.norm(x)
        return self.a(y) * torch.sigmoid(self.b(y))


def test_smoothquant_moves_outliers_into_weights():
    torch.manual_seed(0)
    calib = [torch.randn(64, 32) for _ in range(2)]
    network = Outliers().eval()
    with torch.no_grad():
        for layer in (network.a, network.b):
            layer.weight[:, :3] /= 50
    graph, task, x = gs.trace(network, calib[0]), gs.Task(calib=calib), torch.randn(256, 32)
    smooth = SmoothQuant()(graph, task)
    assert error(graph, smooth, x) < 1e-9
    assert error(graph, Quantize()(smooth, task), x) < 0.5 * error(graph, Quantize()(graph, task), x)


class PostNorm(nn.Module):
    """A norm that a residual sum reads too, as in BERT, and a second layer behind an activation."""

    def __init__(self):
        super().__init__()
        self.norm, self.a, self.b = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)
        with torch.no_grad():
            self.norm.weight[:3] *= 50
            self.a.weight[:, :3] /= 50

    def forward(self, x):
        x = self.norm(x)
        return x + self.b(torch.nn.functional.gelu(self.a(x)))


def test_smoothquant_multiplies_where_no_norm_can_take_it(tmp_path):
    torch.manual_seed(0)
    calib = [torch.randn(4, 16, 32) for _ in range(2)]
    graph, task, x = gs.trace(PostNorm().eval(), calib[0]), gs.Task(calib=calib), torch.randn(32, 16, 32)
    with record() as notes:
        SmoothQuant()(graph, task)
    assert any("multiply=True" in note.message for note in notes)
    smooth = SmoothQuant(multiply=True, alpha=0.8)(graph, task)
    assert error(graph, smooth, x) < 1e-9
    quantized = Quantize()(smooth, task)
    rest = error(graph, quantized, x)
    assert rest < 0.5 * error(graph, Quantize()(graph, task), x)
    path = tmp_path / "net.goss"
    artifact.write(lower(quantized), path)
    with torch.no_grad():
        np.testing.assert_allclose(gs.Engine(path)(x.numpy()), quantized(x), rtol=1e-3, atol=2e-2)


def test_scales_of_groups_are_finer_than_those_of_channels(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 8))
    calib = [torch.randn(16, 96)]
    graph, task, x = gs.trace(network, calib[0]), gs.Task(calib=calib), torch.randn(64, 96)
    groups = Quantize(weights=Int(4, PerGroup(16)), activations=None)(graph, task)
    channels = Quantize(weights=Int(4), activations=None)(graph, task)
    assert error(graph, groups, x) < 0.8 * error(graph, channels, x)
    weight = integers(groups)["0.weight"]
    assert weight.block == 16 and weight.bits == 4
    program, path = lower(groups), tmp_path / "net.onnx"
    save(program, path)
    assert {t.data_type for t in onnx.load(path).graph.initializer} >= {onnx.TensorProto.INT4}
    session = onnxruntime.InferenceSession(str(path))
    theirs = session.run(None, {program.inputs[0].name: x.numpy()})[0]
    wanted = groups(x).detach().numpy()
    for found in (theirs, gs.Engine(program)(x.numpy()), gs.Engine(path)(x.numpy())):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    again = load(path)
    assert all(equal(again.weights[name], weight) for name, weight in program.weights.items())


def test_the_guard_frees_the_layer_that_harms():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        network[2].weight[:, 0] = 60.0  # one column that makes all others coarse
        network[0].weight[0] = 0.0
        network[0].bias[0] = 0.0
    x = torch.randn(512, 16)
    y = network(x).argmax(1)
    batches = [(x[i : i + 128], y[i : i + 128]) for i in range(0, 512, 128)]
    task = gs.Task(train=batches, valid=batches, loss=F.cross_entropy, metric=gs.metrics.accuracy)
    graph = gs.trace(network, x[:4])
    with record() as notes:
        held = Quantize(weights=Int(4), max_drop=0.06)(graph, task)
    free = [n.subject for n in notes if "stays in float for max_drop" in n.message]
    assert free == ["2.weight"]
    assert {layer.name for layer in quantized_layers(held)} == {"0.weight", "4.weight"}
    assert any("drops by" in n.message for n in notes)


def test_mixed_precision_keeps_the_budget_and_the_sensitive_layer():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)
    ).eval()
    calib = [torch.randn(64, 16)]
    graph, task, x = gs.trace(network, calib[0]), gs.Task(calib=calib), torch.randn(256, 16)
    elements = 16 * 64 + 64 * 64 + 64 * 4
    mixed = MixedPrecision(bytes=elements * 5 // 8, quantize=Quantize(activations=None))(graph, task)
    bits = {layer.name: layer.transform.grid.bits for layer in quantized_layers(mixed)}
    assert sum(original(mixed, name).numel() * b for name, b in bits.items()) <= elements * 5
    assert len(set(bits.values())) > 1
    assert error(graph, mixed, x) < error(graph, Quantize(weights=Int(4), activations=None)(graph, task), x)
    with pytest.raises(RecipeError, match="2 bits everywhere"):
        MixedPrecision(bytes=10)(graph, task)


def test_mixed_precision_within_measured_time(residual, tmp_path):
    graph, task, _ = residual
    timed = MixedPrecision(bytes=1e6, microseconds=1e6, choices=(8,), timer=LayerLatency(runs=5))
    found = timed.trade_off(graph, task)
    assert set(found.bits.values()) == {8} and found.chosen.microseconds > 0
    write_trade_off(found, tmp_path / "curve.svg")
    assert "microseconds of a run" in (tmp_path / "curve.svg").read_text()


class TwoTimes(Timer):
    """Few bits are slow for one layer and fast for the others, so that no order of bits is the order of times."""

    def layers(self, graph, task):
        found = quantized_layers(graph)
        slow = found[0].name
        return {
            each.name: 10.0 - each.transform.grid.bits * (1 if each.name == slow else -1) for each in found
        }, 5.0


def test_mixed_precision_keeps_two_budgets_that_pull_apart(residual):
    graph, task, _ = residual
    timer = TwoTimes()
    every = MixedPrecision(microseconds=1e6, timer=timer, choices=(8, 4, 2)).trade_off(graph, task)
    most = every.chosen
    found = MixedPrecision(
        bytes=0.6 * most.bytes, microseconds=0.75 * most.microseconds, timer=timer, choices=(8, 4, 2)
    ).trade_off(graph, task)
    assert found.chosen.bytes <= 0.6 * most.bytes and found.chosen.microseconds <= 0.75 * most.microseconds
    assert found.chosen.error >= most.error and found.points[0] == every.points[0]
    with record() as notes:
        MixedPrecision(microseconds=1e6, timer=timer, choices=(8, 4))(graph, task)
    assert any("measured in the end" in n.message for n in notes)
    with pytest.raises(RecipeError, match="needs .* microseconds of at most 0.001"):
        MixedPrecision(microseconds=1e-3, timer=timer, choices=(8, 4)).trade_off(graph, task)
    with pytest.raises(RecipeError, match="give both, or neither"):
        MixedPrecision(microseconds=1e3)


def test_the_diagnosis_names_the_worst_layer(residual, tmp_path):
    graph, task, _ = residual
    bad = Quantize(overrides={"second.1": Int(2)})(graph, task)
    found = diagnose(bad, task)
    assert found.worst(1)[0].name == "second.1" and "AdaRound" in found.worst(1)[0].advice
    assert all(layer.alone_db >= found.worst(1)[0].alone_db for layer in found.layers)
    assert "second.1" in str(found) and found.histograms and set(found.histograms) == set(found.bounds)
    write_diagnosis(found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "second.1" in page and page.count("<svg") == len(found.histograms) and "nan" not in page
    good = diagnose(Quantize()(graph, task), task)
    assert good.output_db > found.output_db + 10
    with pytest.raises(RecipeError):
        diagnose(graph, task)


@pytest.mark.parametrize("seed", range(4))
def test_histograms_hold_every_value_whatever_comes(seed):
    torch.manual_seed(seed)
    histogram, seen = Histogram(64), []
    for step in range(6):
        x = torch.randn(500) * 10.0 ** torch.randint(-3, 3, ()).item() + step * (seed - 1)
        x[::7] = 0
        histogram.add(x)
        seen.append(x)
    values = torch.cat(seen)
    assert float(histogram.counts.sum()) + histogram.zeros == len(values)
    assert (histogram.lower, histogram.upper) == (min(float(values.min()), 0), max(float(values.max()), 0))
    edges = (torch.arange(65) + histogram.start) * histogram.width
    nonzero = values[values != 0].double()
    exact = torch.histogram(nonzero, edges.double())[0]
    assert float((exact - histogram.counts).abs().sum()) <= 4  # on a border, float32 may fall to either side
    assert histogram.quantile(0.5) == pytest.approx(float(values.median()), abs=2 * histogram.width)


def test_passes_do_not_touch_what_they_are_given(residual):
    graph, task, x = residual
    rounded = WEIGHTS_ONLY(graph, task)
    before, mode = copy.deepcopy(rounded), rounded.training
    for improve in (AdaRound(Rounding(iterations=5)), GPTQ(), CorrectBias(), ReestimateBatchNorm()):
        improve(rounded, task)
    assert rounded.training == mode and torch.equal(before(x), rounded(x))
