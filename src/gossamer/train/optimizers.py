"""Optimizers as values: what to build once the parameters are known."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from gossamer.errors import RecipeError


class Optimizer(abc.ABC):
    """A ``torch.optim`` optimizer and its settings.

    ``lr``: the peak learning rate, which the schedule scales.
    """

    lr: float

    @abc.abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of these parameters. Weight decay applies to all of them, biases and norms too."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(n, int | float) and math.isfinite(n) and n >= 0 for n in numbers):
                raise RecipeError(f"{self}: {name} must be a finite number and not negative")
        if any(beta >= 1 for beta in getattr(self, "betas", ())):
            raise RecipeError(f"{self}: betas must be below 1")


@final
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with (Nesterov) momentum."""

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise RecipeError(f"{self}: Nesterov's momentum needs a momentum above 0")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """``torch.optim.SGD``, its update fused where the device allows."""
        parameters = list(parameters)
        return torch.optim.SGD(
            parameters,
            self.lr,
            self.momentum,
            0,
            self.weight_decay,
            self.nesterov,
            fused=_can_fuse(parameters),
        )


@final
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015); ``weight_decay`` is added to the gradient (L2)."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """``torch.optim.Adam``, its update fused where the device allows."""
        parameters = list(parameters)
        return torch.optim.Adam(
            parameters, self.lr, self.betas, weight_decay=self.weight_decay, fused=_can_fuse(parameters)
        )


@final
@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """``torch.optim.AdamW``, its update fused where the device allows."""
        parameters = list(parameters)
        return torch.optim.AdamW(
            parameters, self.lr, self.betas, weight_decay=self.weight_decay, fused=_can_fuse(parameters)
        )


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    """The fused update passes over memory once instead of once per operation; it exists for these."""
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
