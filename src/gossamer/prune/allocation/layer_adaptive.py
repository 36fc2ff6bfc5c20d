"""LayerAdaptive: one threshold over scores that LAMP makes comparable between layers.

Lee, Park, Mo, Ahn, Shin: Layer-adaptive Sparsity for the Magnitude-based Pruning. 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from gossamer.numerics.importance import lamp

from .allocation import Allocation, Candidates, Kept, keep_each, keep_together


@final
@dataclass(frozen=True)
class LayerAdaptive(Allocation):
    """Scores to the ``power``, each over the sum of those of its layer that are not smaller (equation 1), as Global.

    The best group of every layer has the score 1, so no layer dies. With ``by=Magnitude()`` and power 2 it is the
    paper's LAMP; every other criterion of scores that are not negative may be adapted so.
    """

    power: float = 2.0

    def keep(self, candidates: Candidates) -> Kept:
        """See :class:`Allocation`."""
        kept = keep_each(candidates, candidates.amounts) if candidates.own else {}
        shared = candidates.shared
        if shared:
            scores = {name: lamp(candidates.scores[name], self.power) for name in shared}
            kept |= keep_together(candidates, scores, candidates.amounts[shared[0]])
        return kept
