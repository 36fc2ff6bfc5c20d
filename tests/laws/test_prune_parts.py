"""The four parts of pruning combine freely: every criterion with every granularity, every allocation, every schedule.

A new part without a row in cases.py fails here.
"""

import pytest
import torch
from cases import ALLOCATIONS, CRITERIA, DURING, GRANULARITIES, REWINDS, STRUCTURED, network, task

import gossamer as gs
from gossamer.graph import effective, fingerprint, layers, record
from gossamer.prune import (
    Allocation,
    BatchNormScale,
    Criterion,
    GateOpenness,
    Global,
    Granularity,
    Lottery,
    Magnitude,
    Mask,
    OpenGates,
    StdThreshold,
)
from gossamer.prune.schedules import Rewind
from gossamer.recipe_file import dump_recipe, parse_recipe
from gossamer.train import During, Finetune

NAMES = ("fc1.weight", "fc2.weight")
FAMILIES = [
    (Granularity, [*GRANULARITIES, *STRUCTURED]),
    (Criterion, CRITERIA),
    (Allocation, ALLOCATIONS),
    (During, DURING),
    (Rewind, REWINDS),
]


@pytest.fixture(scope="module")
def graph():
    return gs.trace(network(), torch.randn(4, 20))


def ready(graph, by):
    """With the gates that a criterion of gates reads, each of another openness."""
    if not isinstance(by, GateOpenness):
        return graph
    gated = OpenGates()(graph, task())
    for name in NAMES:
        gate = gs.graph.transforms(gated, name)[0].log_alpha
        gate.data = torch.randn(gate.shape, generator=torch.Generator().manual_seed(1))
    return gated.eval()


def every(base):
    for subclass in base.__subclasses__():
        yield subclass
        yield from every(subclass)


def prune(amount=0.6, **parts):
    by = parts.get("by", Magnitude())
    return gs.Prune(amount, **parts, overrides={"fc2": 0.0} if isinstance(by, BatchNormScale) else {})


@pytest.mark.parametrize(("family", "examples"), FAMILIES, ids=lambda x: getattr(x, "__name__", ""))
def test_every_part_has_an_example(family, examples):
    ours = {
        cls for cls in every(family) if cls.__module__.startswith("gossamer.") and not cls.__subclasses__()
    }
    ours = {cls for cls in ours if not getattr(cls, "__abstractmethods__", None)}
    assert ours and ours == {type(example) for example in examples}


@pytest.mark.parametrize("by", CRITERIA, ids=repr)
def test_a_criterion_scores_every_group_and_mutates_nothing(graph, by):
    graph = ready(graph, by)
    mark, chance = fingerprint(graph), torch.random.get_rng_state()
    found = [layer for layer in layers(graph) if layer.name == "fc1"]
    for granularity in GRANULARITIES:
        if granularity != GRANULARITIES[-1] and type(by).__name__ == "DirectRemoval":
            continue  # a pass over the validation set for every weight
        (groups,) = granularity.groups(graph, found)
        first, again = (by.scores(graph, task(), [groups])[groups.name] for _ in range(2))
        assert first.shape == (groups.count,) and bool(first.isfinite().all())
        assert torch.equal(first, again)
    assert fingerprint(graph) == mark
    assert torch.equal(torch.random.get_rng_state(), chance)


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=repr)
@pytest.mark.parametrize("by", CRITERIA, ids=repr)
def test_every_criterion_prunes_at_every_granularity(graph, by, granularity):
    if granularity != GRANULARITIES[-1] and type(by).__name__ == "DirectRemoval":
        pytest.skip("a pass over the validation set for every weight")
    pruned = prune(by=by, granularity=granularity, allocate=Global())(ready(graph, by), task())
    weights = torch.cat([effective(pruned, name).flatten() for name in NAMES])
    assert int((weights == 0).sum()) == pytest.approx(
        0.6 * (320 if isinstance(by, BatchNormScale) else 384), abs=8
    )


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=repr)
@pytest.mark.parametrize("allocate", ALLOCATIONS, ids=repr)
def test_every_allocation_at_every_granularity(graph, allocate, granularity):
    pruned = prune(granularity=granularity, allocate=allocate)(graph, task())
    kept = {name: int((effective(pruned, name) != 0).sum()) for name in NAMES}
    assert min(kept.values()) >= 1
    if not isinstance(allocate, StdThreshold):
        assert sum(kept.values()) <= 0.42 * 384 + 4


@pytest.mark.parametrize("during", DURING, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("granularity", GRANULARITIES, ids=repr)
def test_every_schedule_at_every_granularity(graph, during, granularity):
    import dataclasses

    schedule = dataclasses.replace(during, prune=dataclasses.replace(during.prune, granularity=granularity))
    plan = Finetune(1, during=(schedule,))
    with record():
        trained = plan(graph, task())
    for name in NAMES:
        assert isinstance(gs.graph.transforms(trained, name)[-1], Mask)
        zeros = float((effective(trained, name) == 0).double().mean())
        assert 0.5 < zeros < 0.7
    assert parse_recipe(dump_recipe([plan])) == [plan]


@pytest.mark.parametrize("part", [*CRITERIA, *ALLOCATIONS, *GRANULARITIES, *STRUCTURED, *REWINDS], ids=repr)
def test_every_part_is_written_and_read_back(part):
    field = {Criterion: "by", Allocation: "allocate", Granularity: "granularity"}
    name = next((field[base] for base in field if isinstance(part, base)), None)
    whole = gs.Prune(0.5, **{name: part}) if name else Lottery(gs.Prune(0.5), Finetune(1), rewind=part)
    assert parse_recipe(dump_recipe([whole])) == [whole]
