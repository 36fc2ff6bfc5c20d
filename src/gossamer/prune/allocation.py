"""How much is removed from where: from scores and amounts to the groups that are kept."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


class Allocation(abc.ABC):
    """Decides which groups of each layer are kept."""

    @abc.abstractmethod
    def keep(
        self, scores: Mapping[str, Tensor], amounts: Mapping[str, float], own: frozenset[str]
    ) -> dict[str, Tensor]:
        """Which groups are kept, bool of the shape of the scores.

        ``scores``: by weight name, shape (groups,); minus infinity for what is removed already. ``amounts``: by weight
        name. ``own``: the names whose amount was given for that layer alone.
        """

    def check(self, amount: float) -> str | None:
        """What is wrong with ``amount``, or None."""
        return None if 0.0 <= amount < 1.0 else "an amount is the share to remove: at least 0 and below 1"


def _keep_largest(scores: Tensor, amount: float) -> Tensor:
    """Keep all but ``round(amount * n)`` of the scores; equal scores fall in order of position."""
    kept = torch.ones_like(scores, dtype=torch.bool)
    kept[scores.argsort(stable=True)[: round(amount * len(scores))]] = False
    return kept


@dataclass(frozen=True)
class Uniform(Allocation):
    """The same share of every layer, or the layer's own share where one is given."""

    def keep(
        self, scores: Mapping[str, Tensor], amounts: Mapping[str, float], own: frozenset[str]
    ) -> dict[str, Tensor]:
        """See :class:`Allocation`."""
        return {name: _keep_largest(scores[name], amounts[name]) for name in scores}


@dataclass(frozen=True)
class Global(Allocation):
    """One threshold for all layers together; layers with an amount of their own stay out of it."""

    def keep(
        self, scores: Mapping[str, Tensor], amounts: Mapping[str, float], own: frozenset[str]
    ) -> dict[str, Tensor]:
        """See :class:`Allocation`."""
        kept = {name: _keep_largest(scores[name], amounts[name]) for name in scores if name in own}
        pooled = [name for name in scores if name not in own]
        if pooled:
            together = _keep_largest(torch.cat([scores[name] for name in pooled]), amounts[pooled[0]])
            sizes = [len(scores[name]) for name in pooled]
            kept.update(zip(pooled, torch.split(together, sizes), strict=True))
        return {name: kept[name] for name in scores}


@dataclass(frozen=True)
class StdThreshold(Allocation):
    """Threshold = quality x standard deviation of the layer's kept weights (Han et al. 2015, section 3.1).

    The pass's ``amount`` is the quality parameter, 0 or more; meant for scores by magnitude, where the root mean square
    of the scores is the standard deviation of weights around zero.
    """

    def keep(
        self, scores: Mapping[str, Tensor], amounts: Mapping[str, float], own: frozenset[str]
    ) -> dict[str, Tensor]:
        """See :class:`Allocation`."""
        return {name: self._keep(scores[name], amounts[name]) for name in scores}

    @staticmethod
    def _keep(scores: Tensor, quality: float) -> Tensor:
        alive = scores[scores.isfinite()]
        deviation = alive.double().square().mean().sqrt() if len(alive) else scores.new_zeros(())
        return scores >= quality * deviation.to(scores.dtype)

    def check(self, amount: float) -> str | None:
        """See :class:`Allocation`."""
        return None if amount >= 0.0 else "a quality is a multiple of the standard deviation: 0 or more"
