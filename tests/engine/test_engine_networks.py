"""Law 5: the engine's output equals the network's within the bounds of docs/numerics.md; others agree."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from engine_bounds import Residual, Tracked, exact_input, track
from engine_programs import pruned, pruned_and_shared, shared
from torch import nn

import gossamer.onnx
from gossamer import _native
from gossamer.artifact import Program
from gossamer.engine import Engine
from gossamer.weights import Dense, Quantized, decode

ISAS = _native.machine_isas()


def block(channels, out, stride):
    body = nn.Sequential(
        nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
        nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out),
    )  # fmt: skip
    down = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
    return Residual(body, nn.Identity() if stride == 1 and channels == out else down)


def lenet_300_100():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def lenet_5():
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2, 2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2, 2), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def residual():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        block(16, 16, 1), block(16, 24, 2), block(24, 40, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10),
    )  # fmt: skip


NETWORKS = {
    "lenet-300-100": (lenet_300_100, (1, 28, 28)),
    "lenet-5": (lenet_5, (1, 28, 28)),
    "residual": (residual, (3, 32, 32)),
}


@cache
def network(name) -> tuple[nn.Module, bytes, Program]:
    """The module, its ONNX file, and the Program."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    module = make().eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
                tensor.normal_()
            norm.running_var.uniform_(0.3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            module,
            (torch.randn(2, *shape),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    model = exported.model_proto
    return module, model.SerializeToString(), gossamer.onnx.load(model)


@cache
def tracked(name, batch) -> tuple[np.ndarray, Tracked]:
    module = network(name)[0]
    x = np.random.default_rng(batch).standard_normal((batch, *NETWORKS[name][1])).astype(np.float32)
    module.double()
    with torch.no_grad():
        result = track(module, exact_input(torch.from_numpy(x)))
        torch.testing.assert_close(module(torch.from_numpy(x).double()), result.value)
    module.float()
    return x, Tracked(*(part.numpy() for part in result))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NETWORKS)
def test_output_is_within_the_derived_bounds(name, isa):
    engine = Engine(network(name)[2], isa=isa)
    for batch in [*range(18), 32]:
        x, (value, bound, variance) = tracked(name, batch)
        y = engine(x)
        assert y.shape == value.shape
        assert y.dtype == np.float32
        error, likely = np.abs(y - value), 8 * np.sqrt(variance)
        assert (error <= bound).all()
        assert (error <= likely).all()
        assert not batch or likely.max() < 0.01 * np.abs(value).max(), "so wide a bound means nothing"


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_and_onnxruntime_agree(name):
    module, file, program = network(name)
    x = np.random.default_rng(2).standard_normal((5, *NETWORKS[name][1])).astype(np.float32)
    with torch.no_grad():
        by_torch = module(torch.from_numpy(x)).numpy()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    by_onnxruntime = session.run(None, {session.get_inputs()[0].name: x})[0]
    y = Engine(program)(x)
    np.testing.assert_allclose(y, by_torch, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(y, by_onnxruntime, rtol=1e-4, atol=1e-5)


def with_weights(program: Program, change) -> Program:
    """Every matrix and kernel replaced by ``change(values)``."""
    weights = {
        name: change(decode(w)) if decode(w).ndim > 1 and decode(w).dtype == np.float32 else w
        for name, w in program.weights.items()
    }
    return Program(
        program.inputs, program.outputs, program.operations, weights, program.opsets, program.metadata
    )


def quantized(values):
    scale = np.float32(np.abs(values).max() / 127)
    ints = np.clip(np.round(values / scale), -127, 127).astype(np.int8)
    return Quantized(ints, np.asarray(scale), np.zeros((), np.int8), None, 8)


REPRESENTATIONS = {
    "sparse": (pruned, "sparse"),
    "codebook of 16": (lambda w: shared(w, 16), "codes+gemm"),
    "codebook of 32": (lambda w: shared(w, 32), "codes+gemm"),
    "codebook of 256": (lambda w: shared(w, 256), "codes+gemm"),
    "codebook of 900": (lambda w: shared(w, 900), "codes+gemm"),
    "sparse codebook": (pruned_and_shared, "sparse"),
    "quantized": (quantized, "codes+gemm"),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
def test_a_representation_gives_what_its_decoded_weights_give(name, representation, isa):
    change, family = REPRESENTATIONS[representation]
    compressed = with_weights(network(name)[2], change)
    dense = with_weights(compressed, Dense)
    engine = Engine(compressed, isa=isa)
    for batch in (0, 1, 2, 3, 17):
        x = np.random.default_rng(batch).standard_normal((batch, *NETWORKS[name][1])).astype(np.float32)
        np.testing.assert_allclose(engine(x), Engine(dense, isa=isa)(x), rtol=1e-4, atol=1e-5)
    steps = {step.operator.split("+")[0]: step for step in engine.explain()}
    assert steps["Gemm"].kernel == f"{family}/{isa.removesuffix('vnni')}"
    if "Conv" in steps:
        conv = steps["Conv"]
        coded = conv.kernel.startswith("codes+direct/") or "decoded: " in conv.note
        assert conv.kernel.startswith("cell_floats/") if family == "sparse" else coded


def test_sparse_weights_save_work():
    program = network("lenet-300-100")[2]
    dense, sparse = Engine(program), Engine(with_weights(program, pruned))
    assert dense.macs() == 784 * 300 + 300 * 100 + 100 * 10
    assert sparse.macs() == 23520 + 3000 + 100
    assert sum(s.weight_bytes for s in sparse.explain()) < 0.2 * sum(s.weight_bytes for s in dense.explain())
