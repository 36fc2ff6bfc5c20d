"""Sensitivity: every layer as far as its own curve of loss against pruning allows.

Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks. 2015, figure 6. Li, Kadav,
Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets. 2017, section 3.2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch

from gossamer.errors import RecipeError
from gossamer.graph import fingerprint
from gossamer.task import Task, evaluate_loss

from .allocation import Allocation, Candidates, Kept, keep_each, keep_largest

SHARES = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class Curves:
    """``increase[name][i]``: how much the validation loss grows when the share ``shares[i]`` of one layer goes."""

    shares: tuple[float, ...]
    increase: dict[str, tuple[float, ...]]

    def share_at(self, name: str, tolerance: float) -> float:
        """The largest share of the layer at which its loss has not grown by more than ``tolerance``.

        Straight lines between the points, from no growth at no pruning; a curve that falls counts as level.
        """
        shares = np.array([0.0, *self.shares])
        level = np.maximum.accumulate([0.0, *self.increase[name]])
        over = np.flatnonzero(level > tolerance)
        if not len(over):
            return float(shares[-1])
        if over[0] == 0:
            return 0.0
        last = over[0] - 1
        rise = (tolerance - level[last]) / (level[last + 1] - level[last])
        return float(shares[last] + rise * (shares[last + 1] - shares[last]))


def sensitivity(candidates: Candidates, shares: tuple[float, ...] = SHARES) -> Curves:
    """Measure the curves: one pass over the validation set for each layer and share."""
    whole = evaluate_loss(candidates.graph, candidates.task)
    everything = {n: torch.ones_like(s, dtype=torch.bool) for n, s in candidates.scores.items()}
    increase = {}
    for name, scores in candidates.scores.items():
        trials = ({**everything, name: keep_largest(scores, share)} for share in shares)
        losses = [evaluate_loss(candidates.apply(trial), candidates.task) for trial in trials]
        increase[name] = tuple(loss - whole for loss in losses)
    return Curves(tuple(shares), increase)


@final
@dataclass(frozen=True)
class Sensitivity(Allocation):
    """Per layer the share at which its loss has grown by a tolerance, the same for all, that gives the amount in total.

    The curves are measured one layer at a time on the validation set at ``shares``; beyond the last of them no layer is
    pruned. ``cache``: a JSON file that keeps them, by network and scores. Raises RecipeError for shares that do not
    rise between 0 and 1.
    """

    shares: tuple[float, ...] = SHARES
    cache: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", tuple(self.shares))
        rising = all(a < b for a, b in zip((0.0, *self.shares), (*self.shares, 1.0), strict=True))
        if not self.shares or not rising:
            raise RecipeError(f"{self}: the shares rise between 0 and 1")

    def require(self, task: Task) -> None:
        """A validation set and a loss, unless there is a cache to look in."""
        if self.cache is None or not Path(self.cache).exists():
            task.require("valid")
            task.require("loss")

    def keep(self, candidates: Candidates) -> Kept:
        """See :class:`Allocation`."""
        curves = self.curves(candidates)
        shared = candidates.shared
        wanted = candidates.amounts[shared[0]] * sum(candidates.weights(n) for n in shared) if shared else 0.0
        low, high = 0.0, max((max(curve) for curve in curves.increase.values()), default=0.0)
        for _ in range(50):
            middle = (low + high) / 2
            removed = sum(curves.share_at(n, middle) * candidates.weights(n) for n in shared)
            low, high = (middle, high) if removed < wanted else (low, middle)
        return keep_each(candidates, _between(candidates, curves, low, high, wanted))

    def curves(self, candidates: Candidates) -> Curves:
        """The curves, from the cache where they are there."""
        if self.cache is None:
            return sensitivity(candidates, self.shares)
        path, key = Path(self.cache), self._key(candidates)
        known: Mapping[str, dict[str, list[float]]] = json.loads(path.read_text()) if path.exists() else {}
        if key in known:
            return Curves(self.shares, {name: tuple(curve) for name, curve in known[key].items()})
        curves = sensitivity(candidates, self.shares)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**known, key: curves.increase}, indent=1))
        return curves

    def _key(self, candidates: Candidates) -> str:
        digest = hashlib.sha256(f"{fingerprint(candidates.graph)} {self.shares}".encode())
        for name, scores in candidates.scores.items():
            digest.update(f"{name} {tuple(scores.shape)}".encode())
            digest.update(scores.detach().cpu().double().numpy().tobytes())
        return digest.hexdigest()[:24]


def _between(
    candidates: Candidates, curves: Curves, low: float, high: float, wanted: float
) -> dict[str, float]:
    """Shares between those of two tolerances, which are as good as one, that remove ``wanted`` weights.

    A curve that is level lets a layer's share jump, so that no tolerance may give just what is wanted.
    """
    sizes = {name: candidates.weights(name) for name in candidates.shared}
    least, most = ({n: curves.share_at(n, tolerance) for n in sizes} for tolerance in (low, high))
    below, above = (sum(shares[n] * size for n, size in sizes.items()) for shares in (least, most))
    part = min(max((wanted - below) / (above - below), 0.0), 1.0) if above > below else 1.0
    return {name: least[name] + part * (most[name] - least[name]) for name in sizes}
