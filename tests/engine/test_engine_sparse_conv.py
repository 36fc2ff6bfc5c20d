"""Convolutions whose weights are mostly zero: the same numbers, fewer multiply-accumulates."""

from __future__ import annotations

import numpy as np
import pytest
from engine_programs import program

from gossamer import Engine, _native

ISAS = _native.machine_isas()
RNG = np.random.default_rng(0)


def with_zeros(shape: tuple[int, ...], density: float, rows: int) -> np.ndarray:
    """Standard normal weights; blocks of ``rows`` output channels are kept with this probability."""
    kept = RNG.random((-(-shape[0] // rows), *shape[1:])) < density
    weights = RNG.standard_normal(shape) * kept.repeat(rows, axis=0)[: shape[0]]
    return weights.astype(np.float32)


def dense_result(x: np.ndarray, w: np.ndarray, stride: int, pad: int) -> np.ndarray:
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("ncijuv,ocuv->noij", windows, w)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(1, 1, 0), (3, 1, 1), (3, 2, 1), (1, 2, 0), (5, 1, 2)])
def test_sparse_convolution(isa, rows, kernel, stride, pad):
    w = with_zeros((18, 16, kernel, kernel), 0.1, rows)
    bias = RNG.standard_normal(18).astype(np.float32)
    conv = ("Conv", ["x", "w", "b"], ["y"], {"pads": (pad,) * 4, "strides": (stride, stride)})
    engine = Engine(program({"x": (None, 16, 20, 23)}, [conv], ["y"], {"w": w, "b": bias}), isa=isa)
    for batch in (1, 3):
        x = RNG.standard_normal((batch, 16, 20, 23)).astype(np.float32)
        wanted = dense_result(x, w, stride, pad) + bias[:, None, None]
        np.testing.assert_allclose(engine(x), wanted, rtol=1e-4, atol=1e-4)
    (step,) = engine.explain()
    assert step.kernel.startswith("cell_floats/")
    pixels = np.prod(step.output[2:])
    assert step.macs < 0.7 * pixels * w.size, "zeros were multiplied"
    assert step.macs >= pixels * np.count_nonzero(w)


def quantized_linear(w: np.ndarray, x_scale: float = 0.02, x_zero: int = 128):
    """x -> Q -> DQ -> MatMul(DQ(w)) as exporters write it, and the result in exact arithmetic."""
    scale = (np.abs(w).max(axis=0) / 127 + 1e-6).astype(np.float32)
    ints = np.round(w / scale).astype(np.int8)
    weights = {
        "w": ints, "w_scale": scale, "x_scale": np.float32(x_scale), "x_zero": np.uint8(x_zero),
    }  # fmt: skip
    operations = [
        ("QuantizeLinear", ["x", "x_scale", "x_zero"], ["q"]),
        ("DequantizeLinear", ["q", "x_scale", "x_zero"], ["d"]),
        ("DequantizeLinear", ["w", "w_scale"], ["v"], {"axis": 1}),
        ("MatMul", ["d", "v"], ["y"]),
    ]

    def exact(x: np.ndarray) -> np.ndarray:
        q = np.clip(np.round(x / np.float32(x_scale)) + x_zero, 0, 255) - x_zero
        return (q.astype(np.float64) @ ints.astype(np.float64)) * x_scale * scale

    return program({"x": (None, None, w.shape[0])}, operations, ["y"], weights), exact


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 4])
def test_sparse_product_of_bytes(isa, rows):
    w = with_zeros((96, 64), 0.05, rows).T.copy()
    network, exact = quantized_linear(w)
    engine = Engine(network, isa=isa, threads=2)
    for batch, tokens in ((1, 48), (2, 40), (1, 1)):
        x = RNG.standard_normal((batch, tokens, 64)).astype(np.float32)
        np.testing.assert_allclose(engine(x), exact(x), rtol=1e-5, atol=1e-5)
    x = np.zeros((1, 48, 64), np.float32)
    product = next(step for step in engine.explain(x) if "MatMul" in step.operator)
    assert product.kernel.startswith("cell_bytes/"), product
    assert product.macs < 48 * w.size
