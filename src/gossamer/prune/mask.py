"""Masks: the weight transforms of pruning. A removed weight is exactly zero, while training and in the file."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gossamer.graph import WeightTransform
from gossamer.weights import Weight, masked


class Mask(WeightTransform):
    """``weight`` where ``kept``, else zero; the gradient of a removed weight is zero too.

    ``kept``: bool, the shape of the weight.
    """

    kept: Tensor

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept.bool())

    def forward(self, weight: Tensor) -> Tensor:
        """The masked weight."""
        return torch.where(self.kept, weight, weight.new_zeros(()))

    def represent(self, weight: Weight) -> Weight:
        """The kept elements alone."""
        return masked(weight, np.asarray(self.kept.cpu().numpy()))

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        return {"kept": self.kept}


class OpenMask(Mask):
    """A mask through which removed weights get the gradient that they would have at zero, so that they can come back.

    The gradient with respect to the masked weight (Guo, Yao, Chen 2016, equation 4); a training ends with a Mask.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """The masked weight; its derivative is one everywhere."""
        return torch.where(self.kept, weight, weight - weight.detach())
