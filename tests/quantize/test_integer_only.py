"""Quantize(integer_only=True): no floating-point operation, and the Engine equals the NumPy reference."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from gossamer import _native
from gossamer.artifact import Operation, pack, unpack
from gossamer.engine import Engine
from gossamer.errors import GraphError, RecipeError, UnsupportedError
from gossamer.graph import from_state, to_state, trace
from gossamer.measure.cost import macs
from gossamer.onnx import integer_only, load, lower, save, to_onnx
from gossamer.quantize import First, Int, Int8, PerGroup, PerTensor, Quantize
from gossamer.task import Task
from gossamer.train import Finetune


class Residual(nn.Module):
    """Batch norms, residual sums, a concatenation and every kind of pooling."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.inner, self.inner_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.after = nn.BatchNorm2d(8)  # behind a sum: no convolution takes it in
        self.side, self.last = nn.Conv2d(8, 4, 1), nn.Linear(12, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(self.after(x + self.inner_norm(self.inner(x))))
        x = torch.cat([F.max_pool2d(x, 2), F.avg_pool2d(self.side(x), 2)], 1)
        return self.last(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Depthwise(nn.Module):
    """Depthwise convolutions, ReLU6, hardswish, and a gate (a product of two activations)."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, groups=8)
        self.point, self.gate = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 16, 1)
        self.norm, self.last = nn.BatchNorm2d(8), nn.Linear(16, 5)

    def forward(self, x):
        x = F.hardswish(self.stem(x))
        x = self.point(F.relu6(self.norm(self.deep(x))))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        return self.last(F.silu(x).mean((2, 3)))


def settled(model, x):
    """Statistics of batch norms as a trained network has them."""
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(x)
    return model.eval()


def images(seed, count=16):
    return torch.randn(count, 3, 14, 14, generator=torch.Generator().manual_seed(seed))


def bert(attention="sdpa"):
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        initializer_range=0.3,
        attn_implementation=attention,
    )
    return BertForSequenceClassification(config).eval()


def ids(count=6):
    return torch.randint(0, 50, (count, 10), generator=torch.Generator().manual_seed(1))


def equal_everywhere(program, **inputs):
    """The reference's outputs, which the Engine has on every instruction set, from the file too."""
    wanted = integer_only.run(program, **inputs)
    for isa in _native.machine_isas():
        got = Engine(unpack(pack(program)), isa=isa)(**inputs)
        got = got if isinstance(got, dict) else {program.outputs[0].name: got}
        for name, values in wanted.items():
            np.testing.assert_array_equal(got[name], values, err_msg=f"{isa} {name}")
    return wanted


def relative(a, b):
    return float(np.sqrt(((a - b) ** 2).mean()) / b.std())


NETWORKS = {"residual": Residual, "depthwise": Depthwise}


@functools.cache
def network(name):
    """The model, its graph, and its integer-only Program and graph."""
    torch.manual_seed(0)
    model = settled(NETWORKS[name](), images(1))
    graph = trace(model, images(2, 2))
    quantized = Quantize(integer_only=True)(graph, Task(calib=[images(1)])).eval()
    return model, graph, quantized, lower(quantized)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_convolutional_network_is_bit_exact_and_near_what_was_simulated(name):
    model, _, quantized, program = network(name)
    x = images(3)
    operators = [operation.op for operation in program.operations]
    assert integer_only.float_operations(program) == []
    assert operators.count("QuantizeLinear") == operators.count("DequantizeLinear") == 1
    assert (operators[0], operators[-1]) == ("QuantizeLinear", "DequantizeLinear")
    result = equal_everywhere(program, x=x.numpy())["output"]
    with torch.no_grad():
        assert relative(result, quantized(x).numpy()) < 0.05
        assert relative(result, model(x).numpy()) < 0.1


@pytest.mark.parametrize(("name", "bits"), [("residual", 4), ("depthwise", 8)])
def test_after_quantization_aware_training_too(name, bits):
    batches = [(images(seed), torch.randint(0, 5, (16,))) for seed in range(2)]
    task = Task(train=batches, valid=batches, loss=F.cross_entropy)
    quantized = Quantize(Int(bits), Int(bits), integer_only=True)(network(name)[1], task)
    trained = Finetune(epochs=1)(quantized, task)
    program = lower(from_state(to_state(trained)))  # as a checkpoint keeps it
    y = equal_everywhere(program, x=images(5).numpy())["output"]
    with torch.no_grad():
        assert relative(y, trained.eval()(images(5)).numpy()) < 0.1


OTHERS = [
    {"weights": Int8(PerTensor()), "activations": Int8(symmetric=True)},
    {"weights": Int8(symmetric=False)},
]


@pytest.mark.parametrize("fields", OTHERS, ids=["per tensor, signed", "weights with zero points"])
def test_other_integers(fields):
    quantize = Quantize(**fields, integer_only=True)
    program = lower(quantize(network("depthwise")[1], Task(calib=[images(1)])))
    equal_everywhere(program, x=images(4, 3).numpy())


def test_names_are_there_once_and_files_for_others_are_refused(tmp_path):
    _, _, _, program = network("residual")
    named = [operation for operation in program.operations if operation.name]
    assert len({operation.name for operation in named}) == len(named)
    products = {operation.name for operation in named if operation.op in ("ConvInteger", "MatMulInteger")}
    assert products == {name.removesuffix(".weight") for name in program.weights if name.endswith(".weight")}
    with pytest.raises(UnsupportedError, match="Requantize.*without integer_only"):
        save(program, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_what_it_computes_is_counted_and_has_an_onnx_model():
    _, graph, _, program = network("residual")
    assert (
        macs(program)[0].dense == macs(lower(graph))[0].dense + 8 * 14 * 14 // 2
    )  # an average pool has ones
    back = load(to_onnx(program))
    assert [o.op for o in back.operations] == [o.op for o in program.operations]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_an_encoder_is_bit_exact(attention):
    model = bert(attention)
    mask = torch.ones_like(ids())
    mask[0, 6:] = 0
    batch = {"input_ids": ids(), "attention_mask": mask}
    graph = trace(model, {name: value[:2] for name, value in batch.items()})
    program = lower(Quantize(integer_only=True)(graph, Task(calib=[batch])))
    used = {operation.op for operation in program.operations}
    assert {"IntegerSoftmax", "IntegerGelu", "IntegerLayerNorm", "MatMulInteger"} <= used
    assert integer_only.float_operations(program) == []
    given = {name: value.numpy() for name, value in batch.items()}
    logits = equal_everywhere(program, **given)["logits"]
    with torch.no_grad():
        assert relative(logits, model(**batch).logits.numpy()) < 0.2
    given["input_ids"] = given["input_ids"].copy()
    given["input_ids"][0, 6:] = 7  # masked: nothing may change
    np.testing.assert_array_equal(Engine(program)(**given), logits)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.cell = nn.Linear(4, 4), nn.LSTM(4, 4, batch_first=True)

    def forward(self, x):
        return self.cell(self.first(x))[0]


class Rotated(nn.Module):
    """Each position and each channel with a factor of its own, as rotary embeddings have."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 8)
        self.register_buffer("factors", torch.rand(3, 8) + 0.5)

    def forward(self, x):
        return self.fc(x) * self.factors


class Grows(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.interpolate(self.conv(x), scale_factor=2, mode="bilinear")


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        places = torch.ones_like(x[:, :1], dtype=torch.int64).cumsum(0).float()
        return self.last(x + places)


@pytest.mark.parametrize(
    ("model", "x", "named"),
    [
        (Positions(), torch.randn(2, 4), "to of .*: floats that the network makes of integers"),
        (Recurrent(), torch.randn(2, 3, 4), "lstm of cell"),
        (Grows(), images(0, 2), "upsample_bilinear2d"),
        (Rotated(), torch.randn(2, 3, 4), r"mul of .*: a constant of shape \(3, 8\)"),
    ],
)
def test_what_has_no_integers_is_named_before_anything_runs(model, x, named):
    quantize = Quantize(integer_only=True)
    task = Task(calib=[x])
    with pytest.raises(UnsupportedError, match=named):
        quantize.check(trace(model, x), task)
    with pytest.raises(UnsupportedError, match=named):
        quantize(trace(model, x), task)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"activations": None}, "activations"),
        ({"exempt": [First()]}, "exempt"),
        ({"overrides": {"fc": None}}, "overrides"),
        ({"max_drop": 0.1}, "max_drop"),
        ({"weights": Int8(PerGroup(32))}, "PerChannel"),
    ],
)
def test_choices_that_leave_floats_are_refused(fields, named):
    with pytest.raises(RecipeError, match=named):
        Quantize(integer_only=True, **fields)


def test_the_check_names_what_computes_in_float():
    program = network("residual")[3]
    back = Operation("DequantizeLinear", (program.operations[0].outputs[0], "s"), ("f",), {}, "early")
    root = Operation("Sqrt", ("f",), ("g",), {}, "root")
    weights = {**program.weights, "s": next(w for n, w in program.weights.items() if n.startswith("scale"))}
    broken = replace(program, operations=(*program.operations, back, root), weights=weights)
    with pytest.raises(GraphError, match=r"DequantizeLinear of early, Sqrt of root"):
        integer_only.check_integer(broken)


def test_a_bias_far_beyond_its_weights():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    with torch.no_grad():
        model[0].weight[1] *= 1e-12
        model[0].bias[1] = 5.0
    x = images(1)
    program = lower(Quantize(integer_only=True)(trace(model, x[:2]), Task(calib=[x])))
    y = equal_everywhere(program, **{program.inputs[0].name: x.numpy()})
    with torch.no_grad():
        assert relative(y[program.outputs[0].name], model(x).numpy()) < 0.05
