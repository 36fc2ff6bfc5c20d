"""Learning rate schedules: a factor on the optimizer's learning rate, as a function of progress.

``progress`` is measured in epochs from 0 to ``epochs`` and read at the middle of each step, so that the
factor neither starts at the zero of a warmup nor ends at the zero of a cosine: no step is wasted.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import final

from gossamer.errors import RecipeError


class Schedule(abc.ABC):
    """How the learning rate develops."""

    @abc.abstractmethod
    def factor(self, progress: float, epochs: int) -> float:
        """What the optimizer's learning rate is multiplied by, ``progress`` epochs into ``epochs``."""


@final
@dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate as it is."""

    def factor(self, progress: float, epochs: int) -> float:
        """Always 1."""
        del progress, epochs
        return 1.0


@final
@dataclass(frozen=True)
class Cosine(Schedule):
    """Linear warmup over ``warmup`` epochs, then half a cosine down to ``final`` (SGDR, Loshchilov 2017)."""

    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _require(self, self.warmup >= 0 and 0 <= self.final <= 1, "warmup >= 0 and 0 <= final <= 1")

    def factor(self, progress: float, epochs: int) -> float:
        """Rising from 0 to 1, then falling to ``final``."""
        if progress < self.warmup:
            return progress / self.warmup
        return _anneal(1.0, self.final, (progress - self.warmup) / max(epochs - self.warmup, 1e-9))


@final
@dataclass(frozen=True)
class Step(Schedule):
    """Multiplied by ``gamma`` after every ``every`` epochs."""

    every: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _require(self, self.every >= 1 and self.gamma > 0, "every >= 1 and gamma > 0")

    def factor(self, progress: float, epochs: int) -> float:
        """``gamma ** floor(progress / every)``."""
        del epochs
        return self.gamma ** math.floor(progress / self.every)


@final
@dataclass(frozen=True)
class Exponential(Schedule):
    """Decays by ``gamma`` per epoch, smoothly."""

    gamma: float = 0.95

    def __post_init__(self) -> None:
        _require(self, self.gamma > 0, "gamma > 0")

    def factor(self, progress: float, epochs: int) -> float:
        """``gamma ** progress``."""
        del epochs
        return math.pow(self.gamma, progress)


@final
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Super-convergence (Smith & Topin 2018): cosine up, then cosine down; momentum stays as it is.

    From ``start`` to 1 in the first ``rise`` (a share) of the training, then down to ``final``.
    """

    rise: float = 0.3
    start: float = 0.04
    final: float = 1e-4

    def __post_init__(self) -> None:
        valid = 0 < self.rise < 1 and 0 <= self.start <= 1 and 0 <= self.final <= 1
        _require(self, valid, "0 < rise < 1, 0 <= start <= 1 and 0 <= final <= 1")

    def factor(self, progress: float, epochs: int) -> float:
        """Up, then down."""
        share = progress / epochs
        if share < self.rise:
            return _anneal(self.start, 1.0, share / self.rise)
        return _anneal(1.0, self.final, (share - self.rise) / (1 - self.rise))


def _anneal(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def _require(schedule: Schedule, condition: bool, what: str) -> None:
    if not condition:
        raise RecipeError(f"{schedule}: needs {what}")
