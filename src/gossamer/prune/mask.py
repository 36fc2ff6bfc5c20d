"""Mask: the weight transform of pruning. A removed weight is exactly zero, while training and in the file."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gossamer.graph import WeightTransform
from gossamer.weights import Weight, sparsify


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
        return sparsify(weight, np.asarray(self.kept.cpu().numpy()))

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        return {"kept": self.kept}
