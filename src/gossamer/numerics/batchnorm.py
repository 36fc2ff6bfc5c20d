"""The factor with which batch norm is folded into the layer before it.

Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def fold_factor(weight: Tensor | None, variance: Tensor, eps: float) -> Tensor:
    """gamma / sqrt(variance + eps) of each channel, float64; ``weight`` is gamma, None for ones."""
    factor = (variance.double() + eps).rsqrt()
    return factor if weight is None else factor * weight.double()


@torch.no_grad()
def follow_fold(factor: Tensor, weight: Tensor | None, variance: Tensor, eps: float, training: bool) -> None:
    """The node of a graph that keeps ``factor``, (channels,), that of the moving variance, in place.

    While training, that of all processes: their variances are averaged, as their buffers are after an epoch. A factor
    of 0 becomes 1: the batch norm behind makes nothing of such a channel anyway.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if training and distributed:
        variance = variance.double()
        torch.distributed.all_reduce(variance)
        variance /= torch.distributed.get_world_size()
    found = fold_factor(weight, variance, eps)
    factor.copy_(torch.where(found == 0, 1.0, found))
