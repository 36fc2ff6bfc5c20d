"""L0 gates against the paper's formulas, and from training to the file."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gossamer as gs
from gossamer import artifact, weights
from gossamer.errors import RecipeError
from gossamer.graph import effective, original, transforms
from gossamer.onnx import lower
from gossamer.prune import CloseGates, ExpectedL0, GateOpenness, HardConcrete, Mask, OpenGates
from gossamer.train import Adam, Finetune


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(2)
    return gs.trace(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 12))


@pytest.fixture(scope="module")
def task():
    inputs = torch.randn(64, 12, generator=torch.Generator().manual_seed(5))
    batches = [(inputs[i : i + 16], inputs[i : i + 16, :3].argmax(1)) for i in range(0, 64, 16)]
    return gs.Task(train=batches, valid=batches, loss=F.cross_entropy, metric=gs.metrics.accuracy)


def test_a_gate_is_the_paper_s():
    log_alpha = torch.tensor([-6.0, -1.0, 0.0, 0.7, 5.0])
    gate = HardConcrete(log_alpha)
    torch.manual_seed(0)
    drawn = torch.stack([gate(torch.ones(5)).detach() for _ in range(20_000)])
    for a, column, openness, centre in zip(
        log_alpha.tolist(),
        drawn.T,
        gate.openness().tolist(),
        gate.eval()(torch.ones(5)).tolist(),
        strict=True,
    ):
        expected = 1 / (1 + math.exp(-(a - 2 / 3 * math.log(0.1 / 1.1))))  # equation 12
        assert openness == pytest.approx(expected, abs=1e-6)
        assert float((column > 0).double().mean()) == pytest.approx(expected, abs=0.015)
        stretched = 1.2 / (1 + math.exp(-a)) - 0.1
        assert centre == pytest.approx(min(1.0, max(0.0, stretched)), abs=1e-6)
    assert bool(((drawn >= 0) & (drawn <= 1)).all() and (drawn == 0).any() and (drawn == 1).any())


def test_the_penalty_is_the_expected_number_of_weights(graph):
    gated = OpenGates(0.4, outputs=True)(graph, gs.Task())
    penalty = ExpectedL0(0.01)
    total = sum(float(penalty.of(t)) for t in (t.detach() for t in penalty.tensors(gated)()))
    alpha = math.log(0.6 / 0.4)
    one = 1 / (1 + math.exp(-(alpha - 2 / 3 * math.log(0.1 / 1.1))))
    assert total == pytest.approx(0.01 * (12 * 8 + 8 * 3) * one, rel=1e-5)
    with pytest.raises(RecipeError, match="no weight has gates"):
        penalty.tensors(graph)


@pytest.mark.parametrize("outputs", [False, True])
def test_training_closes_gates_and_closing_changes_nothing(graph, task, outputs):
    gated = OpenGates(0.3, outputs=outputs)(graph, task)
    trained = Finetune(16, Adam(lr=0.15), penalties=(ExpectedL0(1e-2),))(gated, task)
    closed = CloseGates()(trained, task)
    gone = {name: effective(closed, name) == 0 for name in ("0.weight", "2.weight")}
    assert 5 < sum(int(mask.sum()) for mask in gone.values()) < 115
    assert not outputs or bool((gone["0.weight"].all(1) | ~gone["0.weight"].any(1)).all())
    x = torch.randn(9, 12)
    assert torch.equal(trained.eval()(x), closed.eval()(x))
    assert all(type(step) is Mask for name in gone for step in transforms(closed, name))
    tuned = Finetune(1)(closed, task)
    program = artifact.unpack(artifact.pack(lower(tuned)))
    shipped = {name: torch.from_numpy(weights.decode(program.weights[name]).copy()) for name in gone}
    assert all(bool((shipped[name][mask] == 0).all()) for name, mask in gone.items())


def test_open_gates_ship_as_they_compute(graph, task):
    gated = Finetune(2, Adam(lr=0.05))(OpenGates(0.3)(graph, task), task).eval()
    program = artifact.unpack(artifact.pack(lower(gated)))
    shipped = torch.from_numpy(weights.decode(program.weights["0.weight"]).copy())
    assert torch.equal(shipped, effective(gated, "0.weight"))


def test_pruning_by_openness(graph, task):
    gated = Finetune(2, Adam(lr=0.1))(OpenGates(0.3)(graph, task), task).eval()
    pruned = gs.Prune(0.5, by=GateOpenness())(gated, task)
    openness = transforms(gated, "0.weight")[0].openness()
    gone = effective(pruned, "0.weight") == 0
    assert openness[gone].max() <= openness[~gone].min()
    with pytest.raises(RecipeError, match="2.weight has no gates"):
        gs.Prune(0.5, by=GateOpenness())(OpenGates(overrides={"2": 0})(graph, task), task)
    assert original(gated, "0.weight").shape == (8, 12)
