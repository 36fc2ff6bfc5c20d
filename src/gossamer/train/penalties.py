"""Penalties on the weights that a compression works on: of linear and convolution layers, no biases.

What is penalized is the effective weight, after masks and codebooks: a pruned weight costs nothing.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer.errors import RecipeError


class Penalty(abc.ABC):
    """A term that is added to the loss; ``strength`` 0 adds nothing."""

    strength: float

    @abc.abstractmethod
    def of(self, weight: Tensor) -> Tensor:
        """The scalar penalty of one weight, of any shape."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise RecipeError(f"{self}: strength must be a finite number and not negative")


@final
@dataclass(frozen=True)
class L1(Penalty):
    """``strength * sum(|w|)`` (Han et al. 2015, section 3.1): more weights near zero before retraining."""

    strength: float

    def of(self, weight: Tensor) -> Tensor:
        """A scalar of the weight's dtype."""
        return self.strength * weight.abs().sum()


@final
@dataclass(frozen=True)
class L2(Penalty):
    """``strength / 2 * sum(w**2)`` (Han et al.

    2015): the gradient is ``strength * w``, as of a weight decay.
    """

    strength: float

    def of(self, weight: Tensor) -> Tensor:
        """A scalar of the weight's dtype."""
        return self.strength / 2 * weight.square().sum()


def total_penalty(penalties: tuple[Penalty, ...], weights: Callable[[], list[Tensor]]) -> Tensor | None:
    """The sum of all penalties over ``weights()``; None, without computing them, where all strengths are "
    "0."""
    active = [penalty for penalty in penalties if penalty.strength > 0]
    terms = [penalty.of(weight) for weight in weights() for penalty in active] if active else []
    return torch.stack(terms).sum() if terms else None
