"""Global: one threshold for all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from .allocation import Allocation, Candidates, Kept, keep_each, keep_together


@final
@dataclass(frozen=True)
class Global(Allocation):
    """One threshold for all layers together; layers with an amount of their own stay out of it."""

    def keep(self, candidates: Candidates) -> Kept:
        """See :class:`Allocation`."""
        kept = keep_each(candidates, candidates.amounts) if candidates.own else {}
        shared = candidates.shared
        if shared:
            scores = {name: candidates.scores[name] for name in shared}
            kept |= keep_together(candidates, scores, candidates.amounts[shared[0]])
        return kept
