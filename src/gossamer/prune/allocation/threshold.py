"""StdThreshold: quality x standard deviation (Han, Pool, Tran, Dally 2015, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from gossamer.graph import note

from .allocation import Allocation, Candidates, Kept, keep_largest


@final
@dataclass(frozen=True)
class StdThreshold(Allocation):
    """Threshold = quality x standard deviation of the layer's kept weights; at least one group stays.

    The pass's ``amount`` is the quality parameter, 0 or more; meant for scores by magnitude, where the root mean square
    of the scores is the standard deviation of weights around zero.
    """

    def keep(self, candidates: Candidates) -> Kept:
        """See :class:`Allocation`."""
        return {
            name: self._keep(name, scores, candidates.amounts[name])
            for name, scores in candidates.scores.items()
        }

    @staticmethod
    def _keep(name: str, scores: Tensor, quality: float) -> Tensor:
        alive = scores[scores.isfinite()]
        deviation = alive.double().square().mean().sqrt() if len(alive) else scores.new_zeros(())
        kept = scores >= quality * deviation.to(scores.dtype)
        if bool(kept.any()):
            return kept
        note(
            name,
            "all scores are below the threshold: the largest alone stays; lower its amount in `overrides`",
        )
        return keep_largest(scores, 1.0)

    def check(self, amount: float) -> str | None:
        """See :class:`Allocation`."""
        return None if amount >= 0.0 else "a quality is a multiple of the standard deviation: 0 or more"
