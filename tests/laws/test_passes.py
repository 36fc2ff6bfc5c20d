"""Laws 1 and 3: a pass never mutates its input, the same seed gives the same bytes, strength zero is the identity, and
what was removed stays removed whatever comes after."""

import copy
from functools import cache
from inspect import isabstract

import pytest
import torch
from cases import (
    BEFORE,
    NOTHING,
    PASSES,
    SHAPE,
    TRANSFORMS,
    WITHOUT_STRENGTH,
    network,
    task,
)

import gossamer as gs
from gossamer import artifact, weights
from gossamer.graph import (
    Pass,
    WeightTransform,
    add_transform,
    check,
    effective,
    fingerprint,
    from_state,
    record,
    represent,
    to_state,
    transformed_weights,
)
from gossamer.onnx import lower
from gossamer.recipe_file import dump_recipe, parse_recipe
from gossamer.weights import Dense


@pytest.fixture
def graph(request):
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    name = given.get("name", given.get("after", ""))
    return copy.deepcopy(ready(name if name in {*BEFORE, "SmoothQuant"} else ""))


@cache
def ready(name):
    """The graph that the pass called ``name`` is tried on."""
    traced = gs.trace(network(name), torch.randn(4, 20))
    return BEFORE[name](traced, task()) if name in BEFORE else traced


def every(base):
    for subclass in base.__subclasses__():
        yield subclass
        yield from every(subclass)


def state(graph):
    return {name: value.clone() for name, value in graph.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_every_pass_has_an_example():
    ours = {cls for cls in every(Pass) if cls.__module__.startswith("gossamer.") and not isabstract(cls)}
    assert ours and ours == {type(example) for example in PASSES.values()}
    assert ours == {type(x) for x in NOTHING.values()} | WITHOUT_STRENGTH


def test_every_transform_has_an_example():
    ours = {cls for cls in every(WeightTransform) if cls.__module__.startswith("gossamer.")}
    assert ours and ours == {type(make()) for make in TRANSFORMS.values()}


def differs_in_training(graph, after, x):
    outputs = []
    for each in (graph, after):
        torch.manual_seed(0)
        outputs.append(copy.deepcopy(each).train()(x))
    return not torch.equal(*outputs)


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_never_mutates_its_input(graph, name):
    graph.train()
    before, mark = state(graph), fingerprint(graph)
    PASSES[name](graph, task())
    assert same(before, graph.state_dict())
    assert fingerprint(graph) == mark
    assert graph.training and graph.get_submodule("norm").training


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_changes_something_and_the_result_is_a_graph(graph, name):
    after = PASSES[name](graph, task())
    check(after)
    x = torch.randn(8, 20)
    assert not torch.equal(graph.eval()(x), after.eval()(x)) or differs_in_training(graph, after, x)


@pytest.mark.parametrize("name", PASSES)
def test_the_same_seed_gives_the_same_bytes(graph, name):
    """Of the graph; that the file's bytes follow from them is tested where graphs are lowered."""
    first, second = (PASSES[name](copy.deepcopy(graph), task()) for _ in range(2))
    assert fingerprint(first) == fingerprint(second)
    assert same(first.state_dict(), second.state_dict())


@pytest.mark.parametrize("name", NOTHING)
def test_strength_zero_is_the_identity(graph, name):
    after = NOTHING[name](graph, task())
    assert same(graph.state_dict(), after.state_dict())
    x = torch.randn(8, 20)
    assert torch.equal(graph.eval()(x), after.eval()(x))


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_done_is_said(graph, name):
    with record() as notes:
        NOTHING[name](graph, task())
    assert notes, f"{name} did nothing and said nothing"


@pytest.mark.parametrize("name", PASSES)
def test_recipes_are_written_and_read_back(name):
    assert parse_recipe(dump_recipe([PASSES[name]])) == [PASSES[name]]


@pytest.mark.parametrize("after", PASSES)
def test_a_removed_weight_stays_exactly_zero_in_the_file(graph, after):
    pruned = gs.Prune(0.5)(graph, task())
    removed = effective(pruned, "fc1.weight") == 0
    program = artifact.unpack(artifact.pack(lower(PASSES[after](pruned, task()))))
    shipped = torch.from_numpy(weights.decode(program.weights["fc1.weight"]).copy())
    assert removed.sum() == removed.numel() // 2
    if after == "Quantize integer-only":
        shipped = shipped.T  # as MatMulInteger reads it
    if shipped.shape != removed.shape:  # whole rows are gone; the others are as they were
        rows = (shipped[:, None] == pruned.get_submodule("fc1").weight[None]).all(2)
        assert bool((rows.sum(1) == 1).all())
        return
    assert bool((shipped[removed] == 0).all())
    assert bool((shipped[~removed] != 0).any())


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_tensor_and_the_representation_agree(name):
    weight = torch.randn(SHAPE)
    transform = TRANSFORMS[name]()
    shipped = torch.from_numpy(weights.decode(transform.represent(Dense(weight.numpy()))).copy())
    assert torch.equal(transform(weight), shipped)


@pytest.mark.parametrize("first", TRANSFORMS)
@pytest.mark.parametrize("second", TRANSFORMS)
def test_transforms_compose(first, second):
    layer = torch.nn.Module().eval()
    layer.weight = torch.nn.Parameter(torch.randn(SHAPE))
    for name in (first, second):
        add_transform(layer, "weight", TRANSFORMS[name]())
    shipped = torch.from_numpy(weights.decode(represent(layer, "weight")).copy())
    assert torch.equal(layer.weight, shipped)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_is_rebuilt_from_its_arguments(name):
    transform, weight = TRANSFORMS[name](), torch.randn(SHAPE)
    again = type(transform)(**transform.arguments()).train(transform.training)
    assert same(transform.state_dict(), again.state_dict())
    assert torch.equal(transform(weight), again(weight))


@pytest.mark.parametrize("name", PASSES)
def test_a_graph_survives_being_stored(graph, name):
    after = PASSES[name](graph, task())
    again = from_state(to_state(after))
    assert fingerprint(again) == fingerprint(after)
    assert list(transformed_weights(again)) == list(transformed_weights(after))
    x = torch.randn(8, 20)
    assert torch.equal(after.eval()(x), again.eval()(x))
