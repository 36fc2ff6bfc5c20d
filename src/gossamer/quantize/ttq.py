"""TTQ: ternary weights whose positive and negative levels are trained apart.

Zhu, Han, Mao, Dally: Trained Ternary Quantization. 2017, equations 6 to 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from gossamer.errors import RecipeError
from gossamer.graph import Layer, WeightTransform
from gossamer.weights import Weight, decode, with_codebook

from .ternarize import TernaryScales


class TrainedTernary(WeightTransform):
    """``positive`` where w > t, ``-negative`` where w < -t, else 0; t = ``threshold`` times the largest \\|w\\|.

    ``positive``, ``negative``: scalars, trained.
    """

    def __init__(self, positive: Tensor, negative: Tensor, threshold: float) -> None:
        super().__init__()
        self.positive = nn.Parameter(positive.detach().clone())
        self.negative = nn.Parameter(negative.detach().clone())
        self.threshold = threshold

    @classmethod
    def fit(cls, weight: Tensor, threshold: float) -> TrainedTernary:
        """Starting from the mean of what each level stands for."""
        limit = threshold * weight.abs().max()
        above, below = weight[weight > limit], -weight[weight < -limit]
        whole = weight.abs().max()  # where a sign does not occur
        positive, negative = (part.mean() if part.numel() else whole for part in (above, below))
        return cls(positive, negative, threshold)

    def places(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Where the weight is above the threshold, and where below it; bool, of its shape."""
        limit = self.threshold * weight.detach().abs().max()
        return weight > limit, weight < -limit

    def forward(self, weight: Tensor) -> Tensor:
        """The ternary weight; the gradient of the weight underneath is times its level (equation 8)."""
        above, below = self.places(weight)
        one = weight.new_ones(())
        factor = torch.where(above, self.positive, torch.where(below, self.negative, one)).detach()
        level = torch.where(above, self.positive, torch.where(below, -self.negative, one * 0))
        return level + factor * (weight - weight.detach())

    @torch.no_grad()
    def represent(self, weight: Weight) -> Weight:
        """Which of the three levels, and the levels."""
        above, below = self.places(torch.from_numpy(np.array(decode(weight))))
        levels = [-float(self.negative), 0.0, float(self.positive)]
        return with_codebook(
            weight, above.numpy().astype(np.int8) - below.numpy() + 1, np.array(levels, np.float32)
        )

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        return {
            "positive": self.positive.detach(),
            "negative": self.negative.detach(),
            "threshold": self.threshold,
        }


@final
@dataclass(frozen=True)
class TTQ(TernaryScales):
    """Trained ternary weights. ``threshold``: the share of a layer's largest weight below which weights are zero."""

    threshold: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise RecipeError(f"{self}: a threshold is a share of the largest weight, from 0 up to 1")

    def transform(self, layer: Layer, weight: Tensor) -> WeightTransform:
        """See :class:`TernaryScales`."""
        del layer
        return TrainedTernary.fit(weight, self.threshold)
