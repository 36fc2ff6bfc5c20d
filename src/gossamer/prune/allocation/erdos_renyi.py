"""ErdosRenyi (ERK): small layers stay denser.

Mocanu et al.: Scalable training of artificial neural networks with adaptive sparse connectivity. 2018 (Erdos-Renyi).
Evci, Gale, Menick, Castro, Elsen: Rigging the Lottery: Making All Tickets Winners. 2020 (ERK, with the kernel).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from gossamer.graph import original

from .allocation import Allocation, Candidates, Kept, keep_each


@final
@dataclass(frozen=True)
class ErdosRenyi(Allocation):
    """Density of a layer proportional to (n_in + n_out + kernel sizes) / (n_in x n_out x kernel sizes).

    With ``kernel`` False the kernel's sizes are left out of the sum (plain ER). Scaled so that the share ``amount`` of
    all weights is removed; layers whose density would be above 1 stay whole.
    """

    kernel: bool = True

    def keep(self, candidates: Candidates) -> Kept:
        """See :class:`Allocation`."""
        shared = candidates.shared
        sizes = {name: candidates.weights(name) for name in shared}
        raw = {name: self._raw(candidates, name) for name in shared}
        wanted = 1 - candidates.amounts[shared[0]] if shared else 1.0
        density = densities(raw, sizes, wanted)
        return keep_each(candidates, {name: 1 - density[name] for name in shared})

    def _raw(self, candidates: Candidates, name: str) -> float:
        shape = original(candidates.graph, candidates.groups[name].weights[0]).shape
        return sum(shape if self.kernel else shape[:2]) / math.prod(shape)


def densities(raw: Mapping[str, float], sizes: Mapping[str, int], wanted: float) -> dict[str, float]:
    """``min(1, e raw)`` with the e at which the share ``wanted`` of all weights is kept."""
    whole: set[str] = set()
    while True:
        rest = [name for name in raw if name not in whole]
        left = wanted * sum(sizes.values()) - sum(sizes[name] for name in whole)
        scale = left / sum(raw[name] * sizes[name] for name in rest) if rest else 0.0
        over = {name for name in rest if scale * raw[name] > 1}
        if not over:
            return {name: 1.0 if name in whole else max(scale * raw[name], 0.0) for name in raw}
        whole |= over
