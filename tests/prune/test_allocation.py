"""Allocations: counted by hand, and what they promise held to what they gave."""

import dataclasses
import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gossamer as gs
from gossamer.errors import RecipeError, TaskError
from gossamer.graph import cost, effective, record
from gossamer.numerics.importance import lamp
from gossamer.prune import (
    LAMP,
    Blocks,
    Budget,
    ErdosRenyi,
    Global,
    LayerAdaptive,
    Macs,
    Magnitude,
    Parameters,
    Sensitivity,
    Uniform,
)
from gossamer.prune.allocation.erdos_renyi import densities
from gossamer.prune.allocation.sensitivity import Curves
from gossamer.report import write_sensitivity


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, padding=1)
        self.fc1 = nn.Linear(8 * 16, 24)
        self.fc2 = nn.Linear(24, 4)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(torch.relu(self.conv(x)).flatten(1))))


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(2)
    return gs.trace(Net(), torch.randn(2, 2, 4, 4))


@pytest.fixture(scope="module")
def task():
    inputs = torch.randn(32, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    batches = [(inputs, inputs[:, 0, 0].argmax(1))]
    return gs.Task(train=batches, valid=batches, loss=F.cross_entropy, metric=gs.metrics.accuracy)


SIZES = {"conv.weight": 144, "fc1.weight": 3072, "fc2.weight": 96}


def kept(graph):
    return {name: int((effective(graph, name) != 0).sum()) for name in SIZES}


@pytest.mark.parametrize(("amount", "dense"), [(0.8, set()), (0.6, {"fc2.weight"})])
def test_erdos_renyi_by_hand(graph, task, amount, dense):
    pruned = kept(gs.Prune(amount, allocate=ErdosRenyi())(graph, task))
    raw = {"conv.weight": (8 + 2 + 3 + 3) / 144, "fc1.weight": (24 + 128) / 3072, "fc2.weight": 28 / 96}
    total = (1 - amount) * sum(SIZES.values())
    rest = raw.keys() - dense
    scale = (total - sum(SIZES[n] for n in dense)) / sum(raw[n] * SIZES[n] for n in rest)
    for name, size in SIZES.items():
        assert pruned[name] == pytest.approx(size if name in dense else scale * raw[name] * size, abs=1)
    assert densities({"a": 1.0, "b": 3.0}, {"a": 10, "b": 10}, 0.2) == pytest.approx({"a": 0.1, "b": 0.3})


def test_layer_adaptive_is_lamp(graph, task):
    ours = gs.Prune(0.7, by=Magnitude(), allocate=LayerAdaptive())(graph, task)
    theirs = gs.Prune(0.7, by=LAMP(), allocate=Global())(graph, task)
    assert kept(ours) == kept(theirs)
    extreme = kept(gs.Prune(0.999, allocate=LayerAdaptive(), least=0.0)(graph, task))
    assert min(extreme.values()) >= 1


def test_lamp_of_infinite_and_equal_scores():
    scores = torch.tensor([1.0, torch.inf, 2.0, -torch.inf, 2.0])
    assert lamp(scores, 1.0).tolist() == pytest.approx([0.2, math.inf, 0.5, -math.inf, 1.0])


@pytest.mark.parametrize("by_blocks", [False, True])
def test_a_shared_threshold_spares_every_layer_and_says_so(graph, task, by_blocks):
    weak = gs.Prune(0.0)(graph, task)
    with torch.no_grad():
        weak.get_submodule("fc1").weight.mul_(1e-3)
    with record() as notes:
        pruned = gs.Prune(
            0.95, allocate=Global(), least=0.01, **({"granularity": Blocks(2, 2)} if by_blocks else {})
        )(weak, task)
    count = kept(pruned)
    assert count["fc1.weight"] == (31 if not by_blocks else 8 * 4)
    assert sum(count.values()) == pytest.approx(0.05 * sum(SIZES.values()), abs=4 if by_blocks else 1)
    assert any(
        note.subject == "fc1.weight" and "the threshold would remove" in note.message for note in notes
    )


@pytest.mark.parametrize("within", [Global(), Uniform(), LayerAdaptive()], ids=repr)
@pytest.mark.parametrize(
    ("of", "spent", "whole"), [(Macs(), "executed_macs", "macs"), (Parameters(), "nonzero", "parameters")]
)
def test_a_budget_is_met_and_used_up(graph, task, of, spent, whole, within):
    pruned = gs.Prune(0.6, allocate=Budget(of, within))(graph, task)
    share = getattr(cost(pruned), spent) / getattr(cost(graph), whole)
    assert 0.39 < share <= 0.4


def test_a_budget_out_of_reach_is_said(graph, task):
    with record() as notes:
        gs.Prune(0.99999, allocate=Budget(Parameters()))(graph, task)
    assert any("above the budget" in note.message for note in notes)


def test_curves_are_read_between_their_points():
    curves = Curves((0.5, 0.9), {"a": (0.1, 0.5), "b": (-0.1, 0.0)})
    assert curves.share_at("a", 0.0) == 0.0
    assert curves.share_at("a", 0.05) == pytest.approx(0.25)
    assert curves.share_at("a", 0.3) == pytest.approx(0.7)
    assert curves.share_at("a", 9.0) == 0.9
    assert curves.share_at("b", 0.0) == 0.9


def test_sensitivity_measures_each_layer_alone(graph, task, tmp_path):
    cache = tmp_path / "curves" / "net.json"
    allocation = Sensitivity(shares=(0.3, 0.6, 0.9), cache=str(cache))
    pruned = gs.Prune(0.5, allocate=allocation)(graph, task)
    assert sum(kept(pruned).values()) == pytest.approx(0.5 * sum(SIZES.values()), abs=3)
    (curves,) = json.loads(cache.read_text()).values()
    for name, losses in curves.items():
        others = {n.removesuffix(".weight"): 0.0 for n in SIZES if n != name}
        alone = gs.Prune(0.6, overrides=others)(graph, task)
        expected = gs.task.evaluate_loss(alone, task) - gs.task.evaluate_loss(graph, task)
        assert losses[1] == pytest.approx(expected, abs=1e-6)
    before = cache.read_bytes()
    again = gs.Prune(0.5, allocate=allocation)(graph, gs.Task())  # without data: everything is in the cache
    assert kept(again) == kept(pruned) and cache.read_bytes() == before
    with pytest.raises(RecipeError, match="rise between 0 and 1"):
        Sensitivity(shares=(0.5, 0.4))


def test_sensitivity_is_told_and_plotted(graph, task, tmp_path):
    curves = gs.Prune(0.5, allocate=Sensitivity(shares=(0.5, 0.9)), overrides={"fc2": 0.0}).sensitivity(
        graph, task
    )
    assert curves.shares == (0.5, 0.9)
    assert set(curves.increase) == SIZES.keys() - {"fc2.weight"}
    assert len(gs.Prune(0.5).sensitivity(graph, task).increase) == len(SIZES)
    write_sensitivity(curves, tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert all(name.removesuffix(".weight") in drawn for name in curves.increase)


def test_what_is_measured_is_asked_for_before_anything_runs(graph, task):
    with pytest.raises(TaskError, match="valid"):
        gs.Prune(0.5, allocate=Sensitivity()).check(graph, dataclasses.replace(task, valid=None))
    with pytest.raises(TaskError, match="valid"):
        gs.Prune(0.5, allocate=Budget(within=Sensitivity())).check(graph, gs.Task())


def test_own_amounts_stay_out_of_every_allocation(graph, task):
    for allocation in (Global(), LayerAdaptive(), ErdosRenyi(), Budget(), Sensitivity(shares=(0.5, 0.9))):
        pruned = gs.Prune(0.5, allocate=allocation, overrides={"fc2": 0.25})(graph, task)
        assert kept(pruned)["fc2.weight"] == 72, allocation
