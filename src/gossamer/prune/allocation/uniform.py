"""Uniform: every layer gives the same share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from .allocation import Allocation, Candidates, Kept, keep_each


@final
@dataclass(frozen=True)
class Uniform(Allocation):
    """The same share of every layer, or the layer's own share where one is given."""

    def keep(self, candidates: Candidates) -> Kept:
        """See :class:`Allocation`."""
        return keep_each(candidates, candidates.amounts)
