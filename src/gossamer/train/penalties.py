"""Penalties, by default on the weights that a compression works on: of linear and convolution layers, no biases.

What is penalized is the effective weight, after masks and codebooks: a pruned weight costs nothing.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph.layers import layers
from gossamer.graph.module import Graph


class Penalty(abc.ABC):
    """A term that is added to the loss; ``strength`` 0 adds nothing."""

    strength: float

    @abc.abstractmethod
    def of(self, weight: Tensor) -> Tensor:
        """The scalar penalty of one weight, of any shape."""

    def tensors(self, network: Graph) -> Callable[[], list[Tensor]]:
        """What the penalty applies to, read anew at every step: by default the effective weights of all layers."""
        weights = dict.fromkeys(layer.weight for layer in layers(network))  # layers may share one
        paths = [weight.rpartition(".") for weight in weights]
        places = [(network.get_submodule(path), name) for path, _, name in paths]
        return lambda: [getattr(owner, name) for owner, name in places]

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


def begin_penalties(penalties: Sequence[Penalty], network: Graph) -> Callable[[], Tensor] | None:
    """A function that gives the sum of all penalties; None where all strengths are 0."""
    active = [(penalty, penalty.tensors(network)) for penalty in penalties if penalty.strength > 0]
    if not active:
        return None
    return lambda: torch.stack([p.of(tensor) for p, tensors in active for tensor in tensors()]).sum()
