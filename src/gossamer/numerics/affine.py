"""Affine quantization r = scale (q - zero_point) of tensors, and the gradients through it.

Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
equation 1 and section 3; Esser et al. 2020, Learned Step Size Quantization, equations 1 to 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SMALLEST = 2.0**-100  # scales below it are those of a tensor that is zero


def bounds(bits: int, signed: bool) -> tuple[int, int]:
    """The least and the greatest integer of ``bits``; -127 to 127 for signed bytes, so that signs can be turned."""
    if not signed:
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + (bits == 8), 2 ** (bits - 1) - 1


def parameters(lower: Tensor, upper: Tensor, low: int, high: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Scale and zero point (both of the bounds' shape, the latter int32) with which low..high covers lower..upper.

    The range is widened to hold zero, and zero is one of the integers exactly: the zero point is rounded
    ("nudged") and the range moves with it. ``symmetric`` (low < 0): the zero point is 0. A range of nothing but
    zero has scale 1.
    """
    lower, upper = lower.clamp(max=0), upper.clamp(min=0)
    if symmetric:
        scale, zero = torch.maximum(upper / high, lower / low), torch.zeros_like(upper)
    else:
        scale = (upper - lower) / (high - low)
        zero = low - lower / scale
    empty = ~(scale > _SMALLEST)
    zero = torch.where(empty, 0.0, zero).round().clamp(low, high)
    return torch.where(empty, torch.ones_like(scale), scale), zero.to(torch.int32)


def extremes(x: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of ``x``. torch reads memory in order only if it is in the order of the axes."""
    x = x.detach()
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    least, most = torch.aminmax(x)
    return least, most


def steps(x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
    """q - zero_point as whole floats: halves to the even neighbour, saturated. ``scale`` broadcasts to ``x``."""
    return _saturate_(x.div(scale).round_(), zero_point, low, high)


def _saturate_(nearest: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
    """``nearest`` (whole floats) within the limits, in place."""
    if _is_number(zero_point):  # limits that are numbers are twenty times as fast as limits that are tensors
        return nearest.clamp_(low - int(zero_point), high - int(zero_point))
    least, most = (limit - zero_point for limit in (low, high))
    return nearest.clamp_(least.to(nearest.dtype), most.to(nearest.dtype))


def _is_number(tensor: Tensor) -> bool:
    """One that is read for nothing: elsewhere than on the CPU reading waits for the device."""
    return tensor.numel() == 1 and tensor.device.type == "cpu"


@torch.library.custom_op("gossamer::fake_quantize", mutates_args=())
def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
    """What is left of ``x`` after quantization to low..high: scale (q - zero_point).

    ``scale``, ``zero_point``: broadcast to ``x``. The gradient is the straight-through estimator, zero where
    ``x`` was saturated; that of ``scale`` is LSQ's. In ONNX it is QuantizeLinear and DequantizeLinear.
    """
    return steps(x, scale, zero_point, low, high).mul_(scale)


@fake_quantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
    return torch.empty_like(x)


def _save(ctx: object, inputs: tuple[Tensor, Tensor, Tensor, int, int], output: Tensor) -> None:
    del output
    x, scale, zero_point, *ctx.limits = inputs  # type: ignore[attr-defined]
    # Copies, for ranges that are tracked may be changed in place before the gradient is computed.
    ctx.save_for_backward(x, scale.clone(), zero_point.clone())  # type: ignore[attr-defined]


def _gradient(ctx: object, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
    x, scale, zero_point = ctx.saved_tensors  # type: ignore[attr-defined]
    low, high = ctx.limits  # type: ignore[attr-defined]
    ratio = x / scale
    nearest = ratio.round()
    saturated = _saturate_(nearest.clone(), zero_point, low, high)
    outside = nearest.ne_(saturated)  # 1 where it was saturated, in the dtype of x
    of_x = torch.addcmul(gradient, gradient, outside, value=-1)
    if not ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
        return of_x, None, None, None, None
    # Inside the limits the rounding error, outside them the limit.
    slope = saturated.sub_(ratio.addcmul_(ratio, outside, value=-1))
    return of_x, slope.mul_(gradient).sum_to_size(scale.shape), None, None, None


fake_quantize.register_autograd(_gradient, setup_context=_save)
for _device in ("cpu", "cuda"):  # in bfloat16 the rounding error, and so LSQ's gradient, would be lost
    fake_quantize.register_autocast(_device, torch.float32)


def learned(x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int, features: int) -> Tensor:
    """:func:`fake_quantize` with a scale that learns: its gradient times 1/sqrt(features high) (LSQ, section 2.2).

    ``features``: how many numbers share a scale: of a weight, or of one example's activation.
    """
    factor = 1.0 / math.sqrt(max(1, features) * max(1, high))
    gentle = scale * factor + (scale * (1.0 - factor)).detach()
    quantized: Tensor = torch.ops.gossamer.fake_quantize.default(x, gentle, zero_point, low, high)
    return quantized


def learn(x: Tensor, scale: Tensor, zero_point: Tensor, training: bool, low: int, high: int) -> Tensor:
    """The node of a graph that quantizes a tensor with a learned scale, of whatever sign."""
    scale = scale.abs().clamp(min=_SMALLEST)
    if training:
        return learned(x, scale, zero_point, low, high, x.numel() // max(1, x.shape[0]))
    quantized: Tensor = torch.ops.gossamer.fake_quantize.default(x, scale, zero_point, low, high)
    return quantized


@torch.no_grad()
def widest(lower: Tensor, upper: Tensor) -> None:
    """Make the bounds those of all processes that train together, in place."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(lower, torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(upper, torch.distributed.ReduceOp.MAX)


def track(  # noqa: PLR0913 (the node of a graph that quantizes a tensor whose range is followed)
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    lower: Tensor,
    upper: Tensor,
    seen: Tensor,
    training: bool,
    low: int,
    high: int,
    symmetric: bool,
    momentum: float,
    delay: int,
) -> Tensor:
    """:func:`fake_quantize`; in training with the moving average of the batches' ranges (Jacob et al., section 3.1).

    While training, ``lower`` and ``upper`` (scalars) move by ``1 - momentum`` towards the batch's, the widest of
    all processes, and ``scale`` and ``zero_point`` follow; for the first ``delay`` batches ``x`` stays as it is.
    """
    if training:
        with torch.no_grad():
            least, most = (bound.to(lower.dtype) for bound in extremes(x))
            widest(least, most)
            lower.lerp_(least, 1.0 - momentum)
            upper.lerp_(most, 1.0 - momentum)
            for buffer, value in zip(
                (scale, zero_point), parameters(lower, upper, low, high, symmetric), strict=True
            ):
                buffer.copy_(value)
            seen.add_(1)
        if delay and int(seen) <= delay:
            return x
    quantized: Tensor = torch.ops.gossamer.fake_quantize.default(x, scale, zero_point, low, high)
    return quantized


@torch.library.custom_op("gossamer::dynamic_quantize", mutates_args=())
def dynamic_quantize(x: Tensor, low: int, high: int) -> Tensor:
    """:func:`fake_quantize` over the range that ``x`` has at this moment: DynamicQuantizeLinear of ONNX."""
    lower, upper = extremes(x)
    scale, zero_point = parameters(lower, upper, low, high, symmetric=False)
    return steps(x, scale, zero_point, low, high).mul_(scale)


@dynamic_quantize.register_fake
def _(x: Tensor, low: int, high: int) -> Tensor:
    return torch.empty_like(x)


dynamic_quantize.register_autograd(lambda ctx, gradient: (gradient, None, None))
