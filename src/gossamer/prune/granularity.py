"""What is removed together: scores of weights are pooled into scores of groups, and the choice is spread back."""

from __future__ import annotations

import abc
from dataclasses import dataclass

from torch import Tensor


class Granularity(abc.ABC):
    """The shape of a group of weights that lives or dies as one."""

    @abc.abstractmethod
    def pool(self, scores: Tensor) -> Tensor:
        """Scores of the groups, shape (groups,), from scores of the weights, in the weight's shape."""

    @abc.abstractmethod
    def spread(self, kept: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Which weights are kept, bool in the weight's ``shape``, from which groups are, bool shape (groups,)."""


@dataclass(frozen=True)
class Elements(Granularity):
    """Every weight for itself (Han et al. 2015)."""

    def pool(self, scores: Tensor) -> Tensor:
        """See :class:`Granularity`."""
        return scores.flatten()

    def spread(self, kept: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See :class:`Granularity`."""
        return kept.view(shape)
