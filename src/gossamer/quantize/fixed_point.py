"""FixedPoint: weights that are trained as fixed-point numbers, every update rounded, by chance where wanted.

Gupta, Agrawal, Gopalakrishnan, Narayanan: Deep Learning with Limited Numerical Precision. 2015, sections 3.1 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, WeightTransform
from gossamer.numerics.signs import straight_through
from gossamer.task import Task
from gossamer.weights import Quantized, Weight, decode

from .levels import FewLevels


class FixedPointWeight(WeightTransform):
    """The multiple of 2^-``fraction`` nearest to the weight, saturated to ``bits`` bits with their sign.

    Training leaves the weight underneath on that grid after every update: rounded up with the probability of the rest
    (``stochastic``), or to the nearest, in which case updates below half a step are lost.
    """

    def __init__(self, bits: int, fraction: int, stochastic: bool) -> None:
        super().__init__()
        self.bits, self.fraction, self.stochastic = bits, fraction, stochastic

    def rounded(self, weight: Tensor, noise: Tensor | None = None) -> Tensor:
        """Steps of the grid, as whole floats; ``noise``: uniform over 0..1, for rounding by chance."""
        steps = weight * 2.0**self.fraction
        steps = steps.round() if noise is None else (steps + noise).floor()
        return steps.clamp(-(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1) - 1)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on the grid; its gradient is passed on as it is."""
        return straight_through(self.rounded(weight.detach()) * 2.0**-self.fraction, weight)

    def settle(self, original: Tensor, chance: torch.Generator) -> None:
        """Put the updated weight on the grid."""
        noise = torch.rand(original.shape, generator=chance).to(original) if self.stochastic else None
        original.copy_(self.rounded(original, noise) * 2.0**-self.fraction)

    @torch.no_grad()
    def represent(self, weight: Weight) -> Weight:
        """The integers."""
        dtype = np.dtype(np.int8 if self.bits <= 8 else np.int16)
        ints: npt.NDArray[np.integer] = np.asarray(
            self.rounded(torch.from_numpy(np.array(decode(weight)))), dtype
        )
        return Quantized(
            ints, np.array(2.0**-self.fraction, np.float32), np.zeros((), dtype), None, self.bits
        )

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        return {"bits": self.bits, "fraction": self.fraction, "stochastic": self.stochastic}


@final
@dataclass(frozen=True)
class FixedPoint(FewLevels):
    """Hold the weights of each layer in fixed point, <integer, fraction> bits in the paper's words, and train them so.

    ``integer``: bits in front of the point, the sign's among them; ``fraction``: bits behind it; 2 to 16 in all.
    ``stochastic``: updates are rounded by chance, right on average however small they are. Activations and gradients
    stay in float32 (``Quantize`` rounds activations). The rest as in :class:`FewLevels`.
    """

    integer: int = 2
    fraction: int = 14
    stochastic: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.integer < 1 or self.fraction < 0 or not 2 <= self.integer + self.fraction <= 16:
            raise RecipeError(
                f"FixedPoint(integer={self.integer}, fraction={self.fraction}): give 1 or more integer bits, the "
                "sign's among them, and 2 to 16 bits in all"
            )

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` whose weights are on the grid."""
        del task
        chosen = self._chosen(graph)
        bits = self.integer + self.fraction
        return self._transformed(
            graph, chosen, lambda *_: FixedPointWeight(bits, self.fraction, self.stochastic)
        )
