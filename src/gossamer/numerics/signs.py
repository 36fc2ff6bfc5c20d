"""Signs of tensors, and the gradients through them.

Courbariaux et al. 2016, Binarized Neural Networks, section 1.3: the gradient of a sign is that of a clamp to -1..1.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("gossamer::binarize", mutates_args=())
def binarize(x: Tensor) -> Tensor:
    """1 where ``x`` is 0 or more, else -1; NaN gives -1. In ONNX it is Where(GreaterOrEqual(x, 0), 1, -1).

    The gradient is the straight-through estimator: passed on where -1 <= x <= 1, else zero.
    """
    one = torch.ones((), dtype=x.dtype, device=x.device)
    return torch.where(x >= 0, one, -one)


@binarize.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def _save(ctx: object, inputs: tuple[Tensor], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs)  # type: ignore[attr-defined]


def _gradient(ctx: object, gradient: Tensor) -> Tensor:
    x: Tensor = ctx.saved_tensors[0]  # type: ignore[attr-defined]
    return gradient * (x.abs() <= 1)


binarize.register_autograd(_gradient, setup_context=_save)


def straight_through(value: Tensor, weight: Tensor) -> Tensor:
    """``value`` to the last bit, with the gradient of ``weight`` as if it were ``weight``; that of ``value`` too."""
    return value + (weight - weight.detach())
