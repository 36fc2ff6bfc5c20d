"""A graph is an ordinary module: it copies, moves, casts, pickles; transforms and ties survive."""

import copy
import io
import pickle
import subprocess
import sys
from itertools import product

import pytest
import torch
from graph_models import CASES, OURS, Scale, call, leaves, traced
from torch import nn

from gossamer.errors import CheckpointError, GraphError
from gossamer.graph import (
    Graph,
    add_transform,
    check,
    fingerprint,
    from_state,
    layers,
    original,
    replace_transform,
    represent,
    to_state,
    trace,
    transformed_weights,
    transforms,
)
from gossamer.prune import Prune
from gossamer.task import Task
from gossamer.weights import decode


def stored(graph):
    """Through a file and back, executing nothing."""
    file = io.BytesIO()
    torch.save(to_state(graph), file)
    file.seek(0)
    return from_state(torch.load(file, weights_only=True))


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "state": stored,
    "pickle": lambda graph: pickle.loads(pickle.dumps(graph)),
    "twice": lambda graph: copy.deepcopy(stored(graph)),
}

SOME = (*OURS, "resnet", "bert", "gpt2")


def compressed(name):
    """A graph with two transforms on its first weight and one on its last, one of them frozen."""
    _, example, graph = traced(name)
    found = layers(graph)
    add_transform(graph, found[0].weight, Scale(torch.tensor(0.5)))
    add_transform(graph, found[0].weight, Scale(torch.tensor(3.0)))
    add_transform(graph, found[-1].weight, Scale(torch.tensor(1.5)))
    transforms(graph, found[0].weight)[1].requires_grad_(False)
    return example, graph.eval()


@pytest.mark.parametrize(
    ("name", "copied"), [*product(CASES, ["deepcopy", "state"]), *product(["tied"], COPIES)]
)
def test_copies_are_equal_and_independent(name, copied):
    example, graph = compressed(name)
    graph.train().get_submodule(sorted(m for m, _ in graph.named_modules() if "param" not in m)[-1]).eval()
    twin = COPIES[copied](graph)
    check(twin)
    assert isinstance(twin, Graph)
    assert fingerprint(twin) == fingerprint(graph)
    assert twin.code == graph.code
    ours, theirs = dict(twin.named_parameters()), dict(graph.named_parameters())
    assert [(n, p.requires_grad) for n, p in ours.items()] == [
        (n, p.requires_grad) for n, p in theirs.items()
    ]
    assert list(twin.state_dict()) == list(graph.state_dict())
    assert [n for n, _ in twin.named_buffers()] == [n for n, _ in graph.named_buffers()]
    assert {n: m.training for n, m in twin.named_modules()} == {
        n: m.training for n, m in graph.named_modules()
    }
    torch.testing.assert_close(
        leaves(call(twin.eval(), example)), leaves(call(graph.eval(), example)), rtol=0, atol=0
    )
    before = fingerprint(graph)
    with torch.no_grad():
        for parameter in ours.values():
            parameter.add_(1)
    assert fingerprint(graph) == before != fingerprint(twin)


@pytest.mark.parametrize("name", SOME)
def test_export_of_a_copy_gives_the_same_outputs(name):
    example, graph = compressed(name)
    twin = copy.deepcopy(graph)
    if isinstance(example, dict):  # torch.export takes keywords in the order of the signature
        args, kwargs = (), {i.name: example[i.name] for i in graph.signature}
    else:
        args, kwargs = (example,), {}
    shapes = torch.export.ShapesCollection()
    for tensor in (*args, *kwargs.values()):
        shapes[tensor] = {0: torch.export.Dim("batch")}
    exported = torch.export.export(twin, args, kwargs, dynamic_shapes=shapes).module()
    targets = {str(n.target) for n in exported.graph.nodes if n.op == "call_function"}
    assert not any("choose" in t or "count_batch" in t for t in targets)
    torch.testing.assert_close(leaves(exported(*args, **kwargs)), leaves(call(graph, example)))


@pytest.mark.parametrize("name", SOME)
def test_moves_to_meta_and_casts_to_double(name):
    example, graph = compressed(name)
    double = copy.deepcopy(graph).double()

    def to_double(value):
        return value.double() if value.is_floating_point() else value

    inputs = (
        {k: to_double(v) for k, v in example.items()} if isinstance(example, dict) else to_double(example)
    )
    for wide, narrow in zip(leaves(call(double, inputs)), leaves(call(graph, example)), strict=True):
        assert wide.dtype == torch.float64
        torch.testing.assert_close(wide.float(), narrow, rtol=1e-3, atol=1e-4)
    meta = copy.deepcopy(graph).to("meta")
    inputs = (
        {k: v.to("meta") for k, v in example.items()} if isinstance(example, dict) else example.to("meta")
    )
    outputs = leaves(call(meta, inputs))
    assert [o.shape for o in outputs] == [o.shape for o in leaves(call(graph, example))]
    assert all(o.is_meta for o in outputs)


@pytest.mark.parametrize("move", [copy.deepcopy, stored, lambda g: g.double(), lambda g: g.to("meta")])
def test_tied_weights_stay_tied(move):
    _, _, graph = traced("tied")
    add_transform(graph, "head.weight", Scale(torch.tensor(2.0)))
    graph = move(graph)
    assert list(transformed_weights(graph)) == ["first.weight"]
    assert graph.get_submodule("head").weight is original(graph, "first.weight")
    assert graph.get_submodule("again") is graph.get_submodule("first")
    assert len(layers(graph)) == 2
    assert len(layers(graph)[0].nodes) == 3
    assert graph.get_buffer("shift").shape == (6,)
    assert "shift" not in graph.state_dict()


def test_a_transform_on_a_shared_weight_reaches_all_of_its_uses():
    _, example, graph = traced("tied")
    add_transform(graph, "head.weight", Scale(torch.tensor(0.0)))
    assert not graph(**example)["tied"].any()


def test_transforms_train_and_compose_in_order():
    graph = trace(nn.Linear(3, 2), torch.randn(4, 3))
    weight = graph.get_parameter("weight").detach().clone()
    add_transform(graph, "weight", Scale(torch.tensor(2.0)))
    add_transform(graph, "weight", Scale(torch.tensor(3.0)))
    assert torch.equal(graph.weight, weight * 6)
    assert [t.factor.item() for t in transforms(graph, "weight")] == [2, 3]
    graph(torch.randn(4, 3)).sum().backward()
    assert all(t.factor.grad is not None for t in transforms(graph, "weight"))
    assert torch.equal(torch.from_numpy(decode(represent(graph, "weight"))), weight * 6)


def test_a_transform_is_replaced_by_another():
    graph = trace(nn.Linear(3, 2), torch.randn(4, 3))
    weight = graph.get_parameter("weight").detach().clone()
    with pytest.raises(IndexError, match="no transforms"):
        replace_transform(graph, "weight", 0, Scale(torch.tensor(5.0)))
    add_transform(graph, "weight", Scale(torch.tensor(2.0)))
    replace_transform(graph, "weight", 0, Scale(torch.tensor(5.0)))
    assert torch.equal(graph.weight, weight * 5)
    twin = copy.deepcopy(graph)
    replace_transform(twin, "weight", -1, Scale(torch.tensor(7.0)))
    assert torch.equal(twin.weight, weight * 7)
    assert torch.equal(graph.weight, weight * 5)


def test_fingerprint_sees_weights_structure_and_transforms_but_not_modes():
    def fresh():
        torch.manual_seed(0)
        return trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.randn(4, 3))

    one = fresh()
    assert fingerprint(one) == fingerprint(fresh()) == fingerprint(fresh().eval())
    seen = {fingerprint(one)}
    changed = fresh()
    with torch.no_grad():
        changed.get_parameter("0.weight")[0, 0] += 1e-7
    seen.add(fingerprint(changed))
    masked = fresh()
    add_transform(masked, "0.weight", Scale(torch.tensor(1.0)))
    seen.add(fingerprint(masked))
    other = trace(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), torch.randn(4, 3))
    other.load_state_dict(one.state_dict())
    seen.add(fingerprint(other))
    assert len(seen) == 4


def _set(path, value):
    def damage(state):
        *front, last = path
        for key in front:
            state = state[key]
        state[last] = value

    return damage


def _node(state, op):
    return next(i for i, n in enumerate(state["nodes"]) if n["op"] == op)


HOSTILE = {
    "another version": _set(["version"], 99),
    "code in an argument": _set(["arguments", 0], "x): import os; os.abort()\ndef f(y"),
    "code in a placeholder": lambda s: s["nodes"][_node(s, "placeholder")].update(
        target="x; import os; os.abort()"
    ),
    "code in a keyword": lambda s: s["nodes"][_node(s, "call_function")].update(
        kwargs={"a=os.abort(), b": 1}
    ),
    "code in a path": lambda s: s["nodes"][_node(s, "get_attr")].update(target='0.weight"), os.abort(), ("'),
    "a function that is no operator": lambda s: s["nodes"][_node(s, "call_function")].update(
        target="os.system"
    ),
    "not an operator of torch": lambda s: s["nodes"][_node(s, "call_function")].update(target="ops.a.load.b"),
    "an operator that opens files": lambda s: s["nodes"][_node(s, "call_function")].update(
        target="ops.aten.from_file.default"
    ),
    "an unknown transform": _set(["transforms"], {"first.weight": [{"class": "os.system", "arguments": {}}]}),
    "a missing part": lambda s: s.pop("nodes"),
    "an unknown node": lambda s: s["nodes"][-1].update(args=[["node", "nobody"]]),
    "an unknown output type": lambda s: s.update(outputs=s["outputs"].replace("builtins.dict", "os.system")),
}


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_a_damaged_state_is_refused(damage):
    _, _, graph = traced("tied")
    state = copy.deepcopy(to_state(graph))
    damage(state)
    with pytest.raises(CheckpointError):
        from_state(state)


def test_members_named_like_a_graphs_own_are_refused():
    root = nn.Module()
    root.code = nn.Linear(2, 2)
    with pytest.raises(GraphError, match="'code'"):
        Graph(root, torch.fx.Graph(), (), {})


def test_a_stored_graph_brings_its_own_transforms(tmp_path):
    graph = Prune(0.5)(trace(nn.Linear(4, 4), torch.zeros(2, 4)), Task())
    torch.save(to_state(graph), tmp_path / "graph.pt")
    code = (
        "import sys, torch; from gossamer.graph import effective, from_state\n"
        "assert 'gossamer.prune' not in sys.modules\n"
        "graph = from_state(torch.load(sys.argv[1], weights_only=True))\n"
        "assert int((effective(graph, 'weight') == 0).sum()) == 8"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "graph.pt")], check=True)
