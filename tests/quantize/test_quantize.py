"""Quantization after training: what the graph simulates is what the Engine computes in integers, and what ONNX Runtime
makes of the exported file."""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime
import pytest
import torch
from quantized_networks import NETWORKS, trained
from torch import nn

import gossamer as gs
from gossamer import artifact
from gossamer.engine import Engine
from gossamer.errors import InputError, RecipeError, TaskError
from gossamer.graph import Input, check, fingerprint, from_state, record, to_state
from gossamer.onnx import lower, save, to_onnx
from gossamer.quantize import (
    EMA,
    KL,
    MSE,
    Dynamic,
    First,
    Fixed,
    FoldBatchNorm,
    Int,
    Int8,
    Last,
    Learned,
    MinMax,
    Percentile,
    PerChannel,
    PerTensor,
    Quantize,
    Tracked,
)
from gossamer.quantize.activations import quantizers
from gossamer.weights import Quantized

# What remains of each network in float32, by the kernels' names: nothing of the convolutional ones.
FLOAT_STEPS = {"residual": 0, "inverted": 0, "branches": 0, "parted": 0}


def quantized(name, recipe=None):
    network, inputs = trained(name)
    calib = [inputs(16) for _ in range(3)]
    graph = gs.trace(network, calib[0])
    with record() as notes:
        after = (recipe or Quantize())(graph, gs.Task(calib=calib))
    return graph, after, inputs(32), notes


def reference(path, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options)
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def signal_to_noise(wanted, got):
    return float(10 * np.log10(np.square(wanted).mean() / (np.square(wanted - got).mean() + 1e-30)))


@pytest.mark.parametrize("name", NETWORKS)
def test_graph_engine_and_onnx_runtime_agree(name, tmp_path):
    graph, after, x, _ = quantized(name)
    check(after)
    assert fingerprint(from_state(to_state(after))) == fingerprint(after) == fingerprint(copy.deepcopy(after))
    with torch.no_grad():
        wanted, simulated = graph(x).numpy(), after(x).numpy()
    program = artifact.unpack(artifact.pack(lower(after)))
    ours, theirs = Engine(program)(x.numpy()), reference(to_onnx(program).SerializeToString(), x)
    save(program, tmp_path / "net.onnx")  # with int32 biases; the Engine rounds them too
    exported = reference(str(tmp_path / "net.onnx"), x)
    assert signal_to_noise(simulated, ours) > 40
    # Where a sum falls on the border of two steps, the order of additions decides: few elements, and by one step.
    for one, other in ((simulated, theirs), (exported, ours)):
        assert signal_to_noise(one, other) > 40
        assert np.median(np.abs(one - other)) < 1e-5 * np.abs(wanted).max()
    assert signal_to_noise(wanted, ours) > 18


@pytest.mark.parametrize("name", FLOAT_STEPS)
def test_convolutional_networks_have_no_float_between_integers(name):
    _, after, x, _ = quantized(name)
    steps = Engine(lower(after)).explain(x[:1].numpy())
    floats = [
        s.operator
        for s in steps
        if not s.operator.startswith("gossamer.") and s.operator not in ("Flatten", "Reshape")
    ]
    assert not [operator for operator in floats if operator not in ("QuantizeLinear", "DequantizeLinear")], (
        steps
    )
    assert (
        sum(operator == "QuantizeLinear" for operator in floats) <= 1
    )  # means of pixels are floats before they are bytes
    assert not [s.note for s in steps if "decoded" in s.note]


def test_attention_in_integers():
    graph, after, x, notes = quantized("transformer", Quantize(attention=True))
    assert not [note for note in notes if note.subject == "matmul"]
    read = {q.value.name for q in quantizers(after)}
    assert "softmax" in read and len(read) == len(read & {n.name for n in after.graph.nodes})
    with torch.no_grad():
        wanted, simulated = graph(x).numpy(), after(x).numpy()
    ours = Engine(lower(after))(x.numpy())
    assert signal_to_noise(simulated, ours) > 35 and signal_to_noise(wanted, ours) > 18


class Fused(torch.nn.Module):
    """Attention in one operator; ``shared``: heads for keys and values, fewer than for queries."""

    def __init__(self, shared=4, **options):
        super().__init__()
        self.shared, self.options = shared, options
        self.q, self.out = torch.nn.Linear(16, 32), torch.nn.Linear(32, 16)
        self.k, self.v = (torch.nn.Linear(16, 8 * shared) for _ in range(2))

    def forward(self, x, mask=None):
        q, k, v = (
            y.view(x.shape[0], -1, heads, 8).transpose(1, 2)
            for y, heads in ((self.q(x), 4), (self.k(x), self.shared), (self.v(x), self.shared))
        )
        mask = None if mask is None else mask[:, None, None]
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, **self.options)
        return self.out(y.transpose(1, 2).flatten(2))


KEPT = torch.arange(9) < torch.tensor([[9], [7], [4], [8]])
ATTENTION = {
    "plain": (Fused(), ()),
    "causal, a scale of its own": (Fused(is_causal=True, scale=0.5), ()),
    "padded": (Fused(), (KEPT,)),
    "padded by what is added": (Fused(), (torch.zeros(KEPT.shape).masked_fill(~KEPT, -float("inf")),)),
    "shared heads": (Fused(2, enable_gqa=True, is_causal=True), ()),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_fused_attention_in_integers(name):
    torch.manual_seed(0)
    network, masks = ATTENTION[name]
    x = torch.randn(4, 9, 16)
    inputs = (x, *masks) if masks else x
    graph = gs.trace(network.eval(), inputs)
    with record() as notes:
        after = Quantize(attention=True)(graph, gs.Task(calib=[inputs]))
    assert not [note for note in notes if note.subject in ("matmul", "scaled_dot_product_attention")]
    with torch.no_grad():
        wanted, simulated = graph(x, *masks).numpy(), after(x, *masks).numpy()
    engine = Engine(lower(after))
    given = [t.numpy() for t in (x, *masks)]
    ours = engine(*given)
    assert signal_to_noise(simulated, ours) > 35 and signal_to_noise(wanted, ours) > 18
    kernels = [step.kernel for step in engine.explain(*given) if step.operator == "gossamer.Attention"]
    assert len(kernels) == 1 and kernels[0].startswith("attention of qgemm")


def test_what_stays_float_is_told():
    _, _, _, notes = quantized("transformer")
    said = " ".join(f"{note.subject}: {note.message}" for note in notes)
    assert "layer_norm: 2 left in float32: normalizations" in said
    assert "matmul: 2 left in float32: a product of two activations" in said
    assert "softmax: 1" in said and "gelu: 1" in said
    _, _, _, notes = quantized("signal")
    assert any(note.subject == "up.weight" and "conv_transpose1d" in note.message for note in notes)


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_recurrences_have_integer_weights_and_compute_in_float(cell, tmp_path):
    torch.manual_seed(0)
    x = torch.randn(4, 7, 16)
    network = nn.ModuleList([cell(16, 24, 2, bidirectional=True, batch_first=True)])[0].eval()
    graph = gs.trace(network, x)
    program = lower(gs.Quantize(activations=None)(graph, gs.Task(calib=[x])))
    matrices = [weight for name, weight in program.weights.items() if "weight" in name]
    assert len(matrices) == 8 and all(isinstance(weight, Quantized) for weight in matrices)
    engine = Engine(artifact.unpack(artifact.pack(program)))
    ours, wanted = next(iter(engine(x.numpy()).values())), graph(x)[0].detach().numpy()
    assert np.square(ours - wanted).mean() < 1e-3 * np.square(wanted).mean()
    save(program, tmp_path / "net.onnx")
    theirs = onnxruntime.InferenceSession(str(tmp_path / "net.onnx")).run(
        None, {program.inputs[0].name: x.numpy()}
    )
    np.testing.assert_allclose(theirs[0], ours, atol=1e-5)


def test_concatenated_parts_share_a_range_where_nothing_else_reads_them():
    _, after, _, _ = quantized("branches")
    found = {q.value.name: q.scale for q in quantizers(after)}
    assert found["relu"] == found["tanh"] == found["cat"]  # rounded once, copied
    assert found["max_pool2d"] == found["cat"]  # the greatest of bytes is a byte
    assert (
        found["max_pool2d"] != found["cat_1"] and found["mul"] == found["cat_1"]
    )  # the first has another reader


@pytest.mark.parametrize(
    "options",
    [
        {"ranges": EMA(0.5)},
        {"ranges": Percentile(99.9)},
        {"ranges": MSE(), "weight_ranges": MSE()},
        {"ranges": KL()},
        {"weights": Int8(PerTensor())},
        {"weights": Int8(symmetric=False)},
        {"activations": Int8(symmetric=True)},
        {"activations": Int(6), "weights": Int(6), "training": Learned()},
        {"activations": Dynamic()},
        {"activations": None, "weights": Int(4), "weight_ranges": MSE(), "training": Fixed()},
        {"exempt": [First(), Last()], "overrides": {"down.0": Int(5), "up.0": None}},
    ],
    ids=str,
)
def test_every_choice_reaches_the_file(options):
    graph, after, x, _ = quantized("inverted", Quantize(**options))
    with torch.no_grad():
        wanted, simulated = graph(x).numpy(), after(x).numpy()
    program = artifact.unpack(artifact.pack(lower(after)))
    ours = Engine(program)(x.numpy())
    assert signal_to_noise(simulated, ours) > 35
    assert 6 < signal_to_noise(wanted, ours) < 60
    bits = {name: w.bits for name, w in program.weights.items() if isinstance(w, Quantized)}
    weights = options.get("weights", Int8())
    assert set(bits.values()) == ({weights.bits, 5} if "overrides" in options else {weights.bits})
    if "exempt" in options:
        assert set(bits) == {"depthwise.0.weight", "down.0.weight"}


def test_zero_is_exact():
    _, after, _, _ = quantized("residual", Quantize(weights=Int8(symmetric=False)))
    for quantizer in quantizers(after):
        x = torch.zeros(1)
        scale, zero = after.get_buffer(quantizer.scale), after.get_buffer(quantizer.zero_point)
        assert float(torch.ops.gossamer.fake_quantize(x, scale, zero, quantizer.low, quantizer.high)) == 0
        assert quantizer.low <= int(zero) <= quantizer.high


def test_batch_norms_fold_exactly():
    network, inputs = trained("residual")
    graph = gs.trace(network, inputs(4))
    folded = FoldBatchNorm()(graph, gs.Task())
    assert "batch_norm" in graph.code and "batch_norm" not in folded.code
    check(folded)
    x = inputs(8)
    torch.testing.assert_close(folded(x), graph(x), rtol=1e-4, atol=1e-5)
    assert not [name for name in folded.state_dict() if "running" in name]


def test_a_batch_norm_with_another_reader_stays():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y

    graph = gs.trace(Two().eval(), torch.randn(2, 1, 4, 4))
    with record() as notes:
        assert "batch_norm" in FoldBatchNorm()(graph, gs.Task()).code
    assert notes


def test_what_cannot_be_is_refused():
    network, inputs = trained("residual")
    graph = gs.trace(network, inputs(4))
    for wrong in (
        lambda: Int(1),
        lambda: Quantize(activations=Int8(PerChannel())),
        lambda: Quantize(weights=None),
        lambda: Percentile(20),
        lambda: EMA(1.0),
        lambda: Tracked(momentum=2),
        lambda: Quantize(overrides={"nothing": Int8()}).check(graph, gs.Task(calib=[inputs(2)])),
        lambda: Quantize()(Quantize()(graph, gs.Task(calib=[inputs(2)])), gs.Task(calib=[inputs(2)])),
        lambda: Quantize(weights=Int8(PerChannel(7)))(graph, gs.Task(calib=[inputs(2)])),
    ):
        with pytest.raises(RecipeError):
            wrong()
    with pytest.raises(TaskError):
        Quantize().check(graph, gs.Task())
    for calib in ([torch.randn(2, 3, 8, 8)], [(inputs(2), inputs(2))], [{"y": inputs(2)}]):
        with pytest.raises(InputError):
            Quantize()(graph, gs.Task(calib=calib))


def test_ranges_are_those_of_the_data():
    network, inputs = trained("residual")
    calib = [inputs(8) for _ in range(4)]
    graph = gs.trace(network, calib[0])
    after = Quantize(ranges=MinMax())(graph, gs.Task(calib=calib))
    first = next(quantizers(after))
    lower, upper = min(float(c.min()) for c in calib), max(float(c.max()) for c in calib)
    assert float(after.get_buffer(first.scale)) == pytest.approx((upper - lower) / 255, rel=1e-6)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda x: x.index_put((torch.tensor(0),) * 4, torch.tensor(torch.nan)), "NaN"),
        (lambda x: x.index_put((torch.tensor(0),) * 4, torch.tensor(torch.inf)), "input 'x' has .* infinite"),
        (lambda x: x.double(), "'x' of the network takes float32, and what is given is float64"),
        (lambda x: x[:0], "0 rows"),
    ],
    ids=["not a number", "infinite", "of another type", "no rows"],
)
def test_inputs_that_spoil_ranges_are_named(spoil, named):
    network, inputs = trained("residual")
    graph = gs.trace(network, inputs(4))
    with pytest.raises(InputError, match=named):
        Quantize()(graph, gs.Task(calib=[inputs(2), spoil(inputs(2))]))


def test_ids_of_another_width_are_converted_and_those_outside_of_a_table_named():
    network = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 3)).eval()
    ids = torch.arange(10).view(2, 5)
    graph = gs.trace(network, ids)
    after, same = (Quantize()(graph, gs.Task(calib=[x])) for x in (ids, ids.to(torch.uint8)))
    assert fingerprint(after) == fingerprint(same)
    for wrong in (ids + 1, ids.int() - 1):
        with pytest.raises(
            InputError, match=r"input 'input' holds -?\d to \d+; the embedding 0.weight .* 0 to 9"
        ):
            Quantize()(graph, gs.Task(calib=[wrong]))


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        (torch.tensor([3, 255], dtype=torch.uint8), torch.int8, False),
        (torch.tensor([-128, 127]), torch.int8, True),
        (torch.tensor([2**31]), torch.int32, False),
        (torch.tensor([0, 1]), torch.bool, True),
        (torch.tensor([2]), torch.bool, False),
        (torch.tensor([True, False]), torch.int64, True),
        (torch.tensor([2**64 - 1], dtype=torch.uint64), torch.int64, False),
        (torch.tensor([1.0]), torch.int64, False),
    ],
)
def test_inputs_are_converted_where_nothing_is_lost(given, wanted, fits):
    item = Input("x", (1,), wanted)
    if not fits:
        with pytest.raises(InputError, match="'x' of the network takes"):
            item.converted(given)
        return
    found = item.converted(given)
    assert found.dtype == wanted and found.tolist() == given.tolist()
