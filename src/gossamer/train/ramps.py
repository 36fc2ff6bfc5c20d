"""Ramps: how the strength of a compression grows over the rounds of a Repeat, or the steps of a training."""

from __future__ import annotations

import abc
from dataclasses import dataclass

from gossamer.errors import RecipeError


class Ramp(abc.ABC):
    """How strength grows."""

    @abc.abstractmethod
    def strength(self, progress: float) -> float:
        """Strength in (0, 1] after the share ``progress`` in (0, 1] of the way; 1 at the end."""


@dataclass(frozen=True)
class Cubic(Ramp):
    """1 - (1 - p)^3: much while there is much to spare, little at the end (Zhu and Gupta 2017, equation 1)."""

    def strength(self, progress: float) -> float:
        """See :class:`Ramp`."""
        return 1.0 - (1.0 - progress) ** 3


@dataclass(frozen=True)
class Even(Ramp):
    """p: the same step every round."""

    def strength(self, progress: float) -> float:
        """See :class:`Ramp`."""
        return progress


@dataclass(frozen=True)
class Full(Ramp):
    """Full strength from the first round."""

    def strength(self, progress: float) -> float:
        """See :class:`Ramp`."""
        del progress
        return 1.0


@dataclass(frozen=True)
class Geometric(Ramp):
    """(1 - k^p) / (1 - k): each round keeps the same share of what the one before left, ``kept`` of all in the end.

    For ``Prune(1 - kept)``: k^p is kept after the share p of the rounds (Frankle and Carbin 2019; Tanaka et al. 2020).
    Raises RecipeError unless 0 < kept < 1.
    """

    kept: float

    def __post_init__(self) -> None:
        if not 0 < self.kept < 1:
            raise RecipeError(f"{self}: kept is a share between 0 and 1")

    def strength(self, progress: float) -> float:
        """See :class:`Ramp`."""
        return float((1.0 - self.kept**progress) / (1.0 - self.kept))


@dataclass(frozen=True)
class Halving(Ramp):
    """1 - 2^-r after round r of ``rounds``, and 1 at the end: half of the rest each time (INQ, Zhou et al. 2017).

    Of a Repeat with as many rounds. Raises RecipeError for less than one.
    """

    rounds: int = 4

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise RecipeError(f"{self}: give 1 or more rounds")

    def strength(self, progress: float) -> float:
        """See :class:`Ramp`."""
        return 1.0 if progress >= 1 else 1.0 - 2.0 ** -(progress * self.rounds)
