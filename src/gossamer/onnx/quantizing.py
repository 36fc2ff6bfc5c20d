"""The quantizers of a graph as ONNX writes them: QuantizeLinear and DequantizeLinear, for PyTorch's exporter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnx import TensorProto
from onnxscript import opset18

from gossamer.numerics import affine, signs  # noqa: F401 (define the operators)

op: Any = opset18  # its stubs know tensors by their element types alone


def _fake_quantize(x: Any, scale: Any, zero_point: Any, low: int, high: int) -> Any:
    """Bytes hold fewer bits too: a Clip before them saturates where these would."""
    if high - low > 255:
        zero = op.Cast(zero_point, to=TensorProto.INT16)
        return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero), scale, zero)
    zero = op.Cast(zero_point, to=TensorProto.INT8 if low < 0 else TensorProto.UINT8)
    if high - low < 254:
        least = op.Mul(op.Cast(op.Sub(low, zero_point), to=TensorProto.FLOAT), scale)
        most = op.Mul(op.Cast(op.Sub(high, zero_point), to=TensorProto.FLOAT), scale)
        x = op.Clip(x, least, most)
    return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero), scale, zero)


def _dynamic_quantize(x: Any, low: int, high: int) -> Any:
    del low, high  # the operator has bytes alone
    y, scale, zero = op.DynamicQuantizeLinear(x)
    return op.DequantizeLinear(y, scale, zero)


def _binarize(x: Any) -> Any:
    zero, one, minus_one = (op.Constant(value_float=value) for value in (0.0, 1.0, -1.0))
    return op.Where(op.GreaterOrEqual(x, zero), one, minus_one)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.gossamer.fake_quantize.default: _fake_quantize,
    torch.ops.gossamer.dynamic_quantize.default: _dynamic_quantize,
    torch.ops.gossamer.binarize.default: _binarize,
}
