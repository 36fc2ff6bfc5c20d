"""lower: the Program computes what the graph computes in eval mode, at every batch size, weights represented."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from lowering_cases import CASES, ZOO
from onnx_helpers import run_ort
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import gossamer.onnx as gossamer_onnx
from gossamer.artifact import pack, same, unpack, validate
from gossamer.artifact.program import Program
from gossamer.errors import GraphError, UnsupportedError
from gossamer.graph import Graph, add_transform, record, represent, trace, transformed_weights
from gossamer.networks import lenet_5, lenet_300_100, residual_cnn
from gossamer.onnx import exporter_shortcuts, lowering
from gossamer.prune.mask import Mask
from gossamer.quantize.cluster import SharedValues
from gossamer.weights import Codebook, Sparse, equal, shape

RTOL = 2e-5  # of the largest output; float32 sums in another order (docs/numerics.md)


IMAGES = {"images": torch.linspace(-1, 1, 2 * 784).reshape(2, 1, 28, 28)}
_traced: dict[object, Graph] = {}
_lowered: dict[object, Program] = {}


def traced(build, inputs: Mapping[str, Tensor] = IMAGES) -> Graph:
    """The graph of a freshly built network whose batch norms have seen data, in train mode; a copy of its own."""
    if build not in _traced:
        _traced[build] = _trace(build, inputs)
    return copy.deepcopy(_traced[build])


def lowered(build, inputs: Mapping[str, Tensor] = IMAGES) -> Program:
    """The Program of the graph as it was traced."""
    if build not in _lowered:
        _lowered[build] = gossamer_onnx.lower(traced(build, inputs))
    return _lowered[build]


def _trace(build, inputs: Mapping[str, Tensor]) -> Graph:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build().train()
        with torch.no_grad():
            model(**inputs)
        return trace(model, dict(inputs))


def compress(graph: Graph, least: int = 50) -> list[str]:
    """Prune every large weight and let every second one of them share its values; their names."""
    random = torch.Generator().manual_seed(5)
    large = [name for name, weight in graph.named_parameters() if weight.ndim > 1 and weight.numel() >= least]
    for place, name in enumerate(large):
        size = graph.get_parameter(name).shape
        add_transform(graph, name, Mask(torch.rand(size, generator=random) < 0.3))
        if place % 2 == 0:
            assignment = torch.randint(1, 9, size, generator=random)
            add_transform(graph, name, SharedValues(assignment, torch.linspace(-0.3, 0.31, 8)))
    return large


def assert_computes_the_same(program: Program, graph: Graph, inputs: Mapping[str, Tensor]) -> None:
    evaluated = copy.deepcopy(graph).eval()
    model = gossamer_onnx.to_onnx(program)
    rows = next(iter(inputs.values())).shape[0]
    for batch in (1, 2, 7):
        sized = {name: value[torch.arange(batch) % rows] for name, value in inputs.items()}
        with torch.no_grad():
            expected = [leaf.numpy() for leaf in pytree.tree_leaves(evaluated(**sized)) if leaf is not None]
        ours = run_ort(model, {port.name: sized[port.name].numpy() for port in program.inputs})
        assert len(ours) == len(expected)
        for one, other in zip(ours, expected, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            np.testing.assert_allclose(one, other, rtol=RTOL, atol=RTOL * np.abs(other).max())


def assert_ships(program: Program, graph: Graph) -> None:
    """Every transformed weight is there, in its representation (stored transposed or not), and all survives files."""
    validate(program)
    for name in transformed_weights(graph):
        weight = represent(graph, name)
        shipped = program.weights[graph.tied.get(name, name)]
        assert isinstance(shipped, Sparse)
        assert type(shipped.values) is type(weight.values)
        assert len(shipped.positions) == len(weight.positions)
        assert sorted(shape(shipped)) == sorted(shape(weight))
        if shape(shipped) == shape(weight):
            assert equal(shipped, weight) or shape(weight)[0] == shape(weight)[-1]
    assert same(gossamer_onnx.load(gossamer_onnx.to_onnx(program)), program)
    packed = pack(program)
    assert pack(gossamer_onnx.load(gossamer_onnx.to_onnx(unpack(packed)))) == packed


@pytest.mark.parametrize("compressed", [False, True], ids=["dense", "compressed"])
@pytest.mark.parametrize(("build", "inputs"), CASES.values(), ids=CASES.keys())
def test_the_program_computes_what_the_graph_computes(build, inputs, compressed):
    graph = traced(build, inputs)
    if compressed:
        assert compress(graph, least=8)
    program = gossamer_onnx.lower(graph) if compressed else lowered(build, inputs)
    assert_computes_the_same(program, graph, inputs)
    assert_ships(program, graph)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "inputs"), ZOO.values(), ids=ZOO.keys())
def test_networks_that_nobody_here_wrote(build, inputs):
    pytest.importorskip("transformers")
    graph = traced(build, inputs)
    assert len(compress(graph)) > 2
    program = gossamer_onnx.lower(graph)
    assert_computes_the_same(program, graph, inputs)
    assert_ships(program, graph)


OPERATORS = {
    lenet_300_100: "Reshape Gemm Relu Gemm Relu Gemm",
    lenet_5: "Conv MaxPool Conv MaxPool Reshape Gemm Relu Gemm",
}


@pytest.mark.parametrize("build", OPERATORS)
def test_nothing_is_left_that_need_not_run(build):
    program = lowered(build)
    kinds = " ".join(operation.op for operation in program.operations)
    assert kinds.replace("Flatten", "Reshape") == OPERATORS[build]
    assert all(not isinstance(value, str) for op in program.operations for value in op.attributes.values())
    assert program.metadata == {}


def test_a_residual_network_keeps_its_batch_norms_and_has_no_made_up_biases():
    program = lowered(residual_cnn)
    kinds = {operation.op for operation in program.operations}
    allowed = "Conv BatchNormalization Relu Add GlobalAveragePool ReduceMean Gemm Reshape Flatten"
    assert kinds <= set(allowed.split())
    assert all(len(operation.inputs) == 2 for operation in program.operations if operation.op == "Conv")


def test_names_are_those_of_the_user():
    graph = traced(lenet_5)
    program = lowered(lenet_5)
    assert [(port.name, port.shape) for port in program.inputs] == [("images", ("batch", 1, 28, 28))]
    assert [(port.name, port.shape) for port in program.outputs] == [("output", ("batch", 10))]
    assert {name for name, _ in graph.named_parameters()} <= set(program.weights)
    assert [op.name for op in program.operations if op.name] == ["conv1", "conv2", "fc1", "fc2"]
    written = {name for operation in program.operations for name in operation.outputs}
    assert all(len(name) < 3 for name in written - {"output"})


def test_outputs_have_the_keys_of_the_dict_and_shared_weights_are_there_once():
    program = lowered(*CASES["shares"])
    assert [port.name for port in program.outputs] == ["hidden", "logits"]
    assert set(program.weights) == {"first.weight", "first.bias", "second.bias"}


def test_outputs_of_a_nested_tuple_are_numbered_and_an_input_passed_through_keeps_its_name():
    program = lowered(*CASES["sequence"])
    assert [port.name for port in program.outputs] == ["output_0", "weights", "output_1_doubled"]
    assert [port.shape for port in program.inputs] == [("batch", 3, 5), ("batch",)]


def test_same_graph_same_bytes_and_the_graph_stays_as_it_is():
    graph = traced(lenet_300_100)
    compress(graph)
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    first, second = gossamer_onnx.lower(graph), gossamer_onnx.lower(copy.deepcopy(graph))
    assert pack(first) == pack(second)
    assert graph.training
    assert graph.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in graph.state_dict().items())
    assert isinstance(first.weights["fc1.weight"], Sparse)
    assert isinstance(first.weights["fc1.weight"].values, Codebook)


class Unsupported(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(self.fc(x))


def test_the_exporters_table_is_read_once_and_left_as_it_was():
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    before, graph = ONNXRegistry.from_torchlib, traced(lenet_300_100)
    gossamer_onnx.lower(graph)
    assert ONNXRegistry.from_torchlib == before
    with exporter_shortcuts.shortcuts():
        first, again = (ONNXRegistry.from_torchlib() for _ in range(2))
        first.functions["aten::relu"].clear()  # what an export changes is its own
        first.functions.pop("aten::add.Tensor")
        whole = before()
    assert ONNXRegistry.from_torchlib().functions.keys() == again.functions.keys() == whole.functions.keys()
    assert len(again.functions["aten::relu"]) == len(whole.functions["aten::relu"]) > 0
    assert again.functions["aten::relu"][0] is not whole.functions["aten::relu"][0]


def test_another_exporter_is_told_and_left_alone(monkeypatch):
    from torch.onnx._internal.exporter import _fx_passes

    monkeypatch.delattr(_fx_passes, "decompose_with_registry")
    with record() as notes, exporter_shortcuts.shortcuts():
        pass
    assert "more slowly" in str(notes) and not hasattr(_fx_passes, "decompose_with_registry")


class Common(nn.Module):
    """Operators that most networks have and the exporter has no form for, one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.plain_norm = nn.BatchNorm2d(6, affine=False)
        self.fc = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = torch.relu(self.plain_norm(self.norm(self.conv(images)) * 2))
        pooled = nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        inside = (pooled > 0) & (pooled < 1) | (pooled > 2)
        return {"scores": self.fc(pooled.to(torch.float32)), "inside": inside.to(torch.float64) + 1}


def test_the_exporter_decomposes_nothing_where_all_has_a_form_and_the_program_computes_the_same(monkeypatch):
    from torch.onnx._internal.exporter import _fx_passes

    graph = traced(Common).eval()
    slow = _fx_passes.decompose_with_registry
    with monkeypatch.context() as patched:
        patched.setattr(_fx_passes, "decompose_with_registry", lambda *_: pytest.fail("decomposed"))
        quick = gossamer_onnx.lower(graph)
    assert _fx_passes.decompose_with_registry is slow
    monkeypatch.setattr(lowering, "shortcuts", contextlib.nullcontext)
    inputs = {"images": IMAGES["images"].numpy()}
    found, wanted = (
        run_ort(gossamer_onnx.to_onnx(each), inputs) for each in (quick, gossamer_onnx.lower(graph))
    )
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_an_operator_that_onnx_lacks_is_named_with_the_users_line():
    graph = traced(Unsupported, {"x": torch.randn(2, 4)})
    with pytest.raises(
        UnsupportedError, match=r"bessel_j0 has no form in ONNX(.|\n)*test_lowering\.py"
    ) as caught:
        gossamer_onnx.lower(graph)
    assert "self.fc(x)" in str(caught.value)


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, proj_size=3, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


def test_a_projected_lstm_is_refused():
    graph = traced(Projected, {"x": torch.randn(2, 3, 4)})
    with pytest.raises(UnsupportedError, match=r"LSTM with proj_size has no form in ONNX(.|\n)*self.lstm"):
        gossamer_onnx.lower(graph)


def test_lowering_is_quiet(capfd, caplog):
    graph = traced(lenet_300_100)
    capfd.readouterr()
    caplog.clear()
    with record() as notes, warnings.catch_warnings():
        warnings.simplefilter("error")
        gossamer_onnx.lower(graph)
    assert notes == []
    assert capfd.readouterr() == ("", "")
    assert [entry for entry in caplog.records if entry.levelno > logging.DEBUG] == []
    assert logging.root.manager.disable == 0


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.extra = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def test_a_weight_that_nothing_reads_is_left_out_with_a_note():
    graph = traced(Idle, {"x": torch.randn(2, 4)})
    add_transform(graph, "extra.weight", Mask(torch.ones(4, 4, dtype=torch.bool)))
    with record() as notes:
        program = gossamer_onnx.lower(graph)
    assert set(program.weights) == {"fc.weight", "fc.bias"}
    assert [note.subject for note in notes] == ["extra.weight"]


def test_a_weight_that_gets_lost_is_an_error_that_names_it(monkeypatch):
    graph = traced(lenet_300_100)
    compress(graph)

    def lossy(program: Program, known: object) -> Program:
        weights = {name: weight for name, weight in program.weights.items() if name != "fc2.weight"}
        return Program(program.inputs, program.outputs, program.operations, weights, program.opsets)

    monkeypatch.setattr(lowering, "simplify", lossy)
    with pytest.raises(GraphError, match=r"'fc2\.weight' got lost"):
        gossamer_onnx.lower(graph)
