"""Budgets in bytes of the file and in time of the Engine."""

import pytest
import torch
from torch import nn

import gossamer as gs
from gossamer import artifact
from gossamer.errors import RecipeError
from gossamer.graph import record
from gossamer.measure.resources import Bytes, EngineLatency
from gossamer.onnx import lower
from gossamer.prune import Budget
from gossamer.recipe_file import dump_recipe, parse_recipe


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    return gs.trace(nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10)), torch.randn(2, 64))


TASK = gs.Task(calib=[torch.randn(4, 64)])


def test_a_file_of_half_the_bytes(graph):
    pruned = gs.Prune(0.5, allocate=Budget(Bytes(), steps=8))(graph, TASK)
    before, after = (len(artifact.pack(lower(each))) for each in (graph, pruned))
    assert 0.45 < after / before <= 0.5


def test_a_budget_of_the_engine_s_time(graph):
    """What a machine measures is its own; asked for here is that the budget is looked for and reported in it."""
    with record() as notes:
        pruned = gs.Prune(0.2, allocate=Budget(EngineLatency(runs=10), steps=3))(graph, TASK)
    (told,) = [note.message for note in notes if note.subject == "Budget"]
    assert "EngineLatency" in told and bool((pruned.get_submodule("0").weight == 0).any())
    assert EngineLatency(batch=4, runs=3).spent(graph, TASK) > 0
    with pytest.raises(RecipeError, match="1 or more"):
        EngineLatency(batch=0)


def test_resources_are_written_and_read_back():
    recipe = [gs.Prune(0.5, allocate=Budget(EngineLatency(batch=8)))]
    assert parse_recipe(dump_recipe(recipe)) == recipe
