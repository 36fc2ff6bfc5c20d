"""One-dimensional k-means: weight sharing's quantizer (Han et al. 2016, section 3).

In one dimension a cluster is an interval of the sorted values, so a Lloyd step needs no distances: the boundaries are
the midpoints between centroids, found by binary search, and the means are differences of prefix sums. One sort of n
values, then O(k log n) a step.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Tensor


class Initialization(abc.ABC):
    """Where the centroids start (Han et al. 2016, section 3.2)."""

    @abc.abstractmethod
    def centroids(self, ordered: Tensor, count: int) -> Tensor:
        """``count`` starting centroids for the sorted values ``ordered``, shape (n,); float64, shape (count,)."""


@dataclass(frozen=True)
class Linear(Initialization):
    """Evenly spaced between the smallest and the largest value: keeps the few large weights well represented."""

    def centroids(self, ordered: Tensor, count: int) -> Tensor:
        """See :class:`Initialization`."""
        lowest, highest = float(ordered[0]), float(ordered[-1])
        return torch.linspace(lowest, highest, count, dtype=torch.float64, device=ordered.device)


@dataclass(frozen=True)
class Density(Initialization):
    """Evenly spaced in the cumulative distribution: many centroids where there are many weights."""

    def centroids(self, ordered: Tensor, count: int) -> Tensor:
        """See :class:`Initialization`."""
        ranks = (torch.arange(count, device=ordered.device, dtype=torch.float64) + 0.5) / count
        return ordered[(ranks * len(ordered)).long().clamp(max=len(ordered) - 1)].double()


@dataclass(frozen=True)
class Random(Initialization):
    """Values drawn without replacement (Forgy), from a generator of its own."""

    seed: int = 0

    def centroids(self, ordered: Tensor, count: int) -> Tensor:
        """See :class:`Initialization`."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randperm(len(ordered), generator=generator)[:count]
        drawn = torch.cat([drawn, drawn.new_zeros(count - len(drawn))])
        return ordered[drawn.to(ordered.device)].double().sort().values


def kmeans(values: Tensor, count: int, start: Initialization, *, steps: int = 300) -> tuple[Tensor, Tensor]:
    """Cluster ``values``, shape (n,), finite, into at most ``count`` groups with least within-cluster squares.

    Lloyd's algorithm from ``start`` until no boundary moves, at most ``steps`` steps. Returns ``(assignment,
    centroids)``: int64 shape (n,), and the dtype of ``values``, shape (k,), strictly increasing, k <= count, every
    centroid used. Where ``values`` has at most ``count`` distinct values, they are the centroids.
    """
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"kmeans takes a non-empty vector, not shape {tuple(values.shape)}")
    distinct, inverse = torch.unique(values, return_inverse=True)
    if len(distinct) <= count:
        return inverse, distinct
    ordered = values.double().sort().values
    centroids = _lloyd(ordered, start.centroids(ordered, count), steps)
    return _assign(values, centroids)


def _lloyd(ordered: Tensor, centroids: Tensor, steps: int) -> Tensor:
    """Move ``centroids`` to the means of their intervals of ``ordered`` until the intervals stay."""
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    squares = torch.cat([ordered.new_zeros(1), ordered.square().cumsum(0)])
    edges: Tensor | None = None
    for _ in range(steps):
        midpoints = (centroids[1:] + centroids[:-1]) / 2
        inner = torch.searchsorted(ordered, midpoints, right=True)
        new_edges = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(ordered))])
        if edges is not None and torch.equal(edges, new_edges):
            break
        edges = new_edges
        sizes = edges[1:] - edges[:-1]
        totals = sums[edges[1:]] - sums[edges[:-1]]
        means = totals / sizes.clamp(min=1)
        errors = squares[edges[1:]] - squares[edges[:-1]] - totals * means
        centroids = _refill(ordered, edges, means, errors, sizes == 0).sort().values
    return centroids


def _refill(ordered: Tensor, edges: Tensor, means: Tensor, errors: Tensor, empty: Tensor) -> Tensor:
    """Means, where empty clusters go to the far end of the clusters with the largest squared errors and split them.

    A pruned layer has no weights around zero, so that a linear start leaves clusters there with nothing to do.
    """
    missing = int(empty.sum())
    if missing == 0:
        return means
    worst = errors.masked_fill(empty, -1.0).argsort(descending=True, stable=True)[:missing]
    worst = worst[errors[worst] > 0]
    low, high = ordered[edges[worst]], ordered[edges[worst + 1] - 1]
    far = torch.where(means[worst] - low > high - means[worst], low, high)
    places = empty.nonzero()[:, 0]
    filled = means.clone()
    filled[places[: len(far)]] = far
    filled[places[len(far) :]] = means[worst[0]] if len(far) else ordered[0]
    return filled


def _assign(values: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centroid of each value; centroids in the dtype of ``values``, merged and, where unused, dropped."""
    table = torch.unique(centroids.to(values.dtype))
    midpoints = (table[1:] + table[:-1]) / 2
    assignment = torch.searchsorted(midpoints, values.contiguous())
    used, assignment = torch.unique(assignment, return_inverse=True)
    return assignment, table[used]
