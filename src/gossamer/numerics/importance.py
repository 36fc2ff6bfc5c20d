"""What a weight is worth: formulas of tensors alone."""

from __future__ import annotations

import torch
from torch import Tensor


def lamp(scores: Tensor, power: float = 2.0) -> Tensor:
    """``s ** power`` over the sum of ``t ** power`` of all t that are not smaller (Lee et al. 2021, equation 1).

    ``scores``: not negative, any shape; equal scores count in order of position, and the largest gets 1. Infinite ones
    stay as they are.
    """
    flat = scores.flatten()
    finite = flat.isfinite()
    order = torch.where(finite, flat, flat.new_full((), -1.0)).argsort(stable=True)
    values = torch.where(finite, flat, flat.new_zeros(()))[order].double() ** power
    above = values.flip(0).cumsum(0).flip(0)
    adapted = torch.empty_like(flat)
    adapted[order] = torch.where(above > 0, values / above, above).to(flat.dtype)
    return torch.where(finite, adapted, flat).view(scores.shape)
