"""The race's own parts: what is built, which weights are zero, which files are made, what the page says."""

from __future__ import annotations

import json
from dataclasses import replace

import engine
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from engine_convert import FORMS
from engine_files import Variant, onnx_file
from engine_integers import to_integers
from engine_networks import NETWORKS
from engine_page import lowest_ratio, write_page
from engine_peers import ENTRIES, converted, field_of
from engine_sparsity import BLOCK, Sparsity, block_mask, sparsify
from torch import nn

from gossamer import Engine
from gossamer.measure import Gossamer, PeakBytes

NAMED = {network.name: network for network in NETWORKS}
# Millions of multiply-accumulates of one image, as the papers and their implementations give them.
MACS = {"resnet-50": 4089, "resnet-18": 1814, "vgg-16": 15470, "mobilenet-v2": 300.8, "vgg-16-cifar": 313.2}
MACS |= {
    "lenet-5": 2.293,
    "lenet-300-100": 0.2662,
    "bert": 1434.5,
    "linear": 1849.7,
    "depthwise-144-56": 4.064,
}


@pytest.mark.parametrize("name", sorted(MACS))
def test_multiply_accumulates(name):
    assert NAMED[name].macs / 1e6 == pytest.approx(MACS[name], rel=2e-3)


def test_no_two_biases_are_equal():
    """ONNX Runtime's quantizer leaves convolutions with equal biases in floating point."""
    biases = [
        layer.bias for layer in NAMED["mobilenet-v2"].module().modules() if isinstance(layer, nn.Conv2d)
    ]
    assert len({tuple(bias.tolist()) for bias in biases}) == len(biases) > 50


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("zeros", [0.0, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("kernel", [(), (1, 1), (3, 3)])
def test_blocks_have_the_density_and_the_shape(rows, zeros, kernel):
    weight = torch.ones(16, 24, *kernel)
    mask = block_mask(weight, Sparsity(zeros, rows), torch.Generator().manual_seed(0))
    blocks = mask.reshape(16 // rows, rows, 24 // BLOCK, BLOCK, -1)
    assert torch.equal(
        blocks, blocks[:, :1, :, :1].expand_as(blocks)
    )  # one pattern for rows and for channels
    count = blocks[:, 0, :, 0].numel()
    assert int((blocks[:, 0, :, 0] == 0).sum()) == round(zeros * count)


def test_all_convolutions_but_the_first_are_sparse():
    module = NAMED["resnet-18"].module()
    done = sparsify(module, Sparsity(0.9))
    layers = {
        name: layer for name, layer in module.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    convolutions = [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d)]
    assert done == convolutions[1:]
    shares = {name: float((layer.weight == 0).float().mean()) for name, layer in layers.items()}
    assert all(shares[name] == pytest.approx(0.9, abs=1e-3) for name in done)
    assert all(share == 0 for name, share in shares.items() if name not in done)


@pytest.mark.parametrize(
    "stem", ["resnet-18-int8-z90x4-b16", "bert-fp32", "conv-64-56-int8", "lenet-5-fp32-z80x1"]
)
def test_a_variant_is_named_and_found_by_its_name(stem):
    assert Variant.parse(stem).stem == stem


@pytest.mark.parametrize("stem", ["resnet-19-int8", "lenet-5", "lenet-5-int4", "lenet-5-fp32-z80"])
def test_no_variant(stem):
    with pytest.raises(ValueError, match="is no variant"):
        Variant.parse(stem)


def run(path, x):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize("name", ["lenet-5", "lenet-300-100", "depthwise-144-56"])
def test_files_are_made_once_and_agree(name, tmp_path):
    variant = Variant(NAMED[name], "int8", batch=2)
    path = onnx_file(variant, tmp_path)
    floating = onnx_file(replace(variant, precision="fp32"), tmp_path)
    x = variant.inputs()
    with torch.no_grad():
        expected = variant.module()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(run(floating, x), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(Engine(floating)(x), expected, rtol=1e-4, atol=1e-4)
    assert np.abs(run(path, x) - expected).max() < 0.25 * np.abs(expected).max()
    products = [node for node in onnx.load(path).graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    sources = {out: node.op_type for node in onnx.load(path).graph.node for out in node.output}
    assert all(sources[node.input[i]] == "DequantizeLinear" for node in products for i in (0, 1))
    written = path.stat().st_mtime_ns
    assert onnx_file(variant, tmp_path).stat().st_mtime_ns == written
    assert {file.name for file in tmp_path.iterdir()} == {path.name, floating.name}


@pytest.mark.parametrize("stem", ["lenet-5-int8", "lenet-300-100-int8-z80x4"])
def test_integer_products_agree_and_keep_the_zeros(stem, tmp_path):
    variant = Variant.parse(stem)
    floating = onnx_file(replace(variant, precision="fp32"), tmp_path)
    to_integers(floating, tmp_path / "integers.onnx", [variant.inputs(seed) for seed in range(3)])
    x = variant.inputs()
    expected = run(floating, x)
    assert np.abs(run(tmp_path / "integers.onnx", x) - expected).max() < 0.1 * np.abs(expected).max()
    model = onnx.load(tmp_path / "integers.onnx")
    assert not {"Conv", "Gemm", "MatMul"} & {node.op_type for node in model.graph.node}
    weights = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith("_weight")]
    if variant.sparsity:
        assert all(np.mean(weight == 0) >= 0.79 for weight in weights[:2])


def test_a_field_names_who_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("GOSSAMER_PEERS", "/no/such/python")
    field = field_of(Variant.parse("lenet-5-int8"), tmp_path, leave_out=["openvino"])
    assert [runner.runtime for runner in field.runners[:2]] == [PeakBytes, Gossamer]
    assert field.absent["deepsparse"] == "not installed"
    assert field.absent["openvino"] == "left out of this run"
    assert "openvino" not in {runner.name for runner in field.runners}
    assert {entry.form for entry in ENTRIES} - {None} == set(FORMS)


def test_a_conversion_that_failed_is_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("GOSSAMER_PEERS", "")
    variant = Variant.parse("lenet-5-int8")
    (tmp_path / "lenet-5-int8.integers.failed").write_text("as it was")
    with pytest.raises(RuntimeError, match="as it was"):
        converted(variant, "integers", tmp_path)


def a_row(key, ours, theirs, **more):
    """A result of two passes: ours and one peer, in milliseconds."""
    cell = {"low_ms": 0.9, "high_ms": 1.1, "runs": 40, "share": 0.5}
    table = {
        "peak fp32": {**cell, "median_ms": 1.0, "gops": 100.0},
        "gossamer": {**cell, "median_ms": ours, "ratio": 1.0},
        "onnxruntime": {**cell, "median_ms": theirs, "ratio": theirs / ours},
    }
    machine = {
        "cpu": "a cpu",
        "cores": 2,
        "system": "linux",
        "versions": {"numpy": "2"},
        "date": "2026-01-02T03:04",
    }
    row = {
        "key": key, "title": key, "network": key, "precision": "int8", "zeros": 0.0, "rows": None, "batch": 1,
        "threads": 1, "macs": 10**9, "passes": [table, table], "absent": {"litert": "not installed"},
        "difference": 1e-6, "clock": "time", "machine": machine,
    }  # fmt: skip
    return row | more


def test_a_page_says_which_targets_are_met(tmp_path):
    rows = [
        a_row("mobilenet-v2-int8-t1", 1.0, 1.25),
        a_row("mobilenet-v2-fp32-t1", 1.0, 1.1),
        a_row("lenet-5-fp32-z80x4-t1", 1.0, 2.0, zeros=0.8, rows=4),
        a_row("resnet-18-int8-z80x4-t1", 1.0, 2.6, zeros=0.8, rows=4),
        a_row("resnet-18-int8-z90x4-t1", 1.0, 2.6, zeros=0.9, rows=4),
    ]
    write_page(rows, tmp_path / "engine.md")
    text = (tmp_path / "engine.md").read_text()
    assert "| MobileNetV2 dense int8 | 1.2x | 1.25x | met |" in text
    assert "| MobileNetV2 dense fp32 | 1.2x | 1.10x | **missed** |" in text
    assert "| VGG-16 dense fp32 | 1.1x | not measured | not measured |" in text
    assert "80 % zeros | 2.5x | not measured / 2.60x | not measured |" in text
    assert "90 % zeros | 4x | not measured / 2.60x | **missed** |" in text
    assert "not installed" in text and "a cpu" in text
    assert (tmp_path / "engine-sparsity.svg").read_text().startswith("<svg")


def test_results_of_other_machines_have_pages_beside_and_are_linked(tmp_path, monkeypatch):
    results = tmp_path / "engine.json"
    monkeypatch.setattr(engine, "RESULTS", results)
    monkeypatch.setattr(engine, "FOOTPRINT", tmp_path / "engine-footprint.json")
    assert engine.beside(results) == []
    (tmp_path / "engine-zen4.json").write_text("[]")
    (tmp_path / "engine-footprint.json.partial").write_text("{}")
    assert engine.beside(results) == ["## On other machines\n\n- [zen4](engine-zen4.md)"]
    assert engine.beside(tmp_path / "engine-zen4.json") == []
    assert engine.page_of(tmp_path / "engine-zen4.json") == engine.PAGES / "engine-zen4.md"
    assert engine.page_of(tmp_path / "else" / "mine.json") == tmp_path / "else" / "mine.md"


def test_the_worse_pass_counts_and_a_failure_is_no_ratio():
    row = a_row("x", 1.0, 2.0)
    worse = json.loads(json.dumps(row["passes"][1]))
    worse["onnxruntime"]["ratio"] = 1.5
    assert lowest_ratio({**row, "passes": [row["passes"][0], worse]}) == 1.5
    assert lowest_ratio({**row, "passes": [worse], "key": "x-t1-avx2"}) is None  # it cannot be held to AVX2
    worse["onnxruntime"]["ratio"] = None
    assert lowest_ratio({**row, "passes": [row["passes"][0], worse]}) is None
