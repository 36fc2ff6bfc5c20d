"""Where a quantized tensor's range ends: what is beyond saturates, what is inside gets coarser with width.

MinMax and EMA: Jacob et al. 2018, section 3.1. KL: Migacz, 8-bit Inference with TensorRT, 2017. MSE: Choukroun et al.
2019, Low-bit Quantization of Neural Networks for Efficient Inference; here with exact zeros left out of the error.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from gossamer.errors import InputError, RecipeError
from gossamer.numerics import affine
from gossamer.numerics.histogram import Histogram

from .types import Grid

_RATIOS = torch.linspace(0.02, 1.0, 99, dtype=torch.float64)


class Observer(abc.ABC):
    """Sees a stream of tensors, in bounded memory."""

    @abc.abstractmethod
    def add(self, x: Tensor) -> None:
        """Take notice of ``x``."""

    @abc.abstractmethod
    def bounds(self, grid: Grid) -> tuple[float, float]:
        """Lower and upper end of the range for these integers."""


class Ranges(abc.ABC):
    """How the range of a tensor is found."""

    @abc.abstractmethod
    def observer(self) -> Observer:
        """Of the range of one activation."""

    def of_rows(self, rows: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds, shape (rows,), of weights of shape (rows, n)."""
        found = []
        for row in rows:
            observer = self.observer()
            observer.add(row)
            found.append(observer.bounds(grid))
        bounds = torch.tensor(found, dtype=rows.dtype, device=rows.device)
        return bounds[:, 0], bounds[:, 1]


class _Extremes(Observer):
    """Minimum and maximum: of everything (momentum 0 keeps the widest), or moving averages of the batches'."""

    def __init__(self, momentum: float | None = None) -> None:
        self._momentum = momentum
        self._bounds: tuple[float, float] | None = None

    def add(self, x: Tensor) -> None:
        """See :class:`Observer`."""
        if not x.numel():
            return
        least, most = torch.stack(affine.extremes(x)).tolist()
        if not (isfinite(least) and isfinite(most)):
            raise InputError("has elements that are infinite or not a number, of which there is no range")
        if self._bounds is None:
            self._bounds = least, most
        elif self._momentum is None:
            self._bounds = min(self._bounds[0], least), max(self._bounds[1], most)
        else:
            low, high = self._bounds
            self._bounds = self._averaged(low, least), self._averaged(high, most)

    def _averaged(self, before: float, new: float) -> float:
        assert self._momentum is not None
        return self._momentum * before + (1 - self._momentum) * new

    def bounds(self, grid: Grid) -> tuple[float, float]:
        """See :class:`Observer`."""
        del grid
        return self._bounds or (0.0, 0.0)


@dataclass(frozen=True)
class MinMax(Ranges):
    """From the least to the greatest value seen: nothing saturates."""

    def observer(self) -> Observer:
        """See :class:`Ranges`."""
        return _Extremes()

    def of_rows(self, rows: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """See :class:`Ranges`."""
        del grid
        lower, upper = torch.aminmax(rows, dim=1)
        return lower, upper


@dataclass(frozen=True)
class EMA(Ranges):
    """The exponential moving average of the batches' minima and maxima."""

    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise RecipeError(f"EMA(momentum={self.momentum}): give a number from 0 up to 1")

    def observer(self) -> Observer:
        """See :class:`Ranges`."""
        return _Extremes(self.momentum)


class _Counted(Observer):
    """A histogram, and the function that reads the range off it."""

    def __init__(self, read: Callable[[Histogram, Grid], tuple[float, float]]) -> None:
        self.histogram, self._read = Histogram(), read

    def add(self, x: Tensor) -> None:
        """See :class:`Observer`."""
        self.histogram.add(x)

    def bounds(self, grid: Grid) -> tuple[float, float]:
        """See :class:`Observer`."""
        return self._read(self.histogram, grid) if self.histogram.width else (0.0, 0.0)


@dataclass(frozen=True)
class Percentile(Ranges):
    """The range that ``share`` percent of the values are in; the rest, half at each end that has any, saturate."""

    share: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.share <= 100:
            raise RecipeError(f"Percentile(share={self.share}): give a percentage above 50, up to 100")

    def observer(self) -> Observer:
        """See :class:`Ranges`."""
        return _Counted(self._read)

    def _read(self, histogram: Histogram, grid: Grid) -> tuple[float, float]:
        del grid
        outside = 1.0 - self.share / 100.0
        if histogram.lower < 0 < histogram.upper:
            outside /= 2
        lower = histogram.quantile(outside) if histogram.lower < 0 else 0.0
        return lower, histogram.quantile(1.0 - outside) if histogram.upper > 0 else 0.0


@dataclass(frozen=True)
class MSE(Ranges):
    """The range with the least mean squared error of quantization."""

    def observer(self) -> Observer:
        """See :class:`Ranges`."""
        return _Counted(lambda histogram, grid: _least(_squared_error, histogram, grid))

    def of_rows(self, rows: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """See :class:`Ranges`."""
        lower, upper = torch.aminmax(rows, dim=1)
        best = torch.full_like(lower, torch.inf)
        found = torch.ones_like(lower)
        for ratio in torch.linspace(0.3, 1.0, 71).flip(0).tolist():
            scale, zero = affine.parameters(lower * ratio, upper * ratio, grid.low, grid.high, grid.symmetric)
            error = rows - affine.fake_quantize(rows, scale[:, None], zero[:, None], grid.low, grid.high)
            total = error.square_().sum(1)
            found = torch.where(total < best, ratio, found)
            best = torch.minimum(total, best)
        return lower * found, upper * found


@dataclass(frozen=True)
class KL(Ranges):
    """The range whose quantized distribution has the least Kullback-Leibler divergence from the true one."""

    def observer(self) -> Observer:
        """See :class:`Ranges`."""
        return _Counted(lambda histogram, grid: _least(_divergence, histogram, grid))


_Loss = Callable[[Histogram, Tensor, Tensor, Grid], Tensor]


def _least(loss: _Loss, histogram: Histogram, grid: Grid) -> tuple[float, float]:
    """The part of lower..upper with the least loss: both ends drawn in alike, then each for itself."""
    lower, upper = (torch.tensor(bound, dtype=torch.float64) for bound in (histogram.lower, histogram.upper))
    ends = torch.stack([lower.clamp(max=0), upper.clamp(min=0)])
    moves = [torch.tensor([True, True])]
    if not grid.symmetric and bool((ends != 0).all()):
        moves += [torch.tensor([False, True]), torch.tensor([True, False])]
    for moved in moves:
        candidates = torch.where(moved, ends * _RATIOS[:, None], ends)
        ends = candidates[loss(histogram, candidates[:, 0], candidates[:, 1], grid).argmin()]
    return float(ends[0]), float(ends[1])


def _squared_error(histogram: Histogram, lower: Tensor, upper: Tensor, grid: Grid) -> Tensor:
    scale, zero = affine.parameters(lower, upper, grid.low, grid.high, grid.symmetric)
    centers = histogram.centers.expand(len(lower), -1)
    error = centers - affine.fake_quantize(centers, scale[:, None], zero[:, None], grid.low, grid.high)
    loss: Tensor = error.square() @ histogram.counts
    return loss


def _divergence(histogram: Histogram, lower: Tensor, upper: Tensor, grid: Grid) -> Tensor:
    """Of the clipped counts from the same spread evenly over the bins, not empty, of each integer's cell."""
    counts, centers = histogram.counts, histogram.centers
    filled = (counts > 0).double()
    found = []
    for least, most in zip(lower, upper, strict=True):
        scale, zero = affine.parameters(least, most, grid.low, grid.high, grid.symmetric)
        inside = (centers >= least) & (centers <= most)
        cell = affine.steps(centers, scale, zero, grid.low, grid.high).long() - (grid.low - int(zero))
        size = grid.high - grid.low + 1
        within = torch.where(inside, counts, 0.0)
        mean = torch.zeros(size, dtype=torch.float64).index_add_(0, cell, within) / torch.zeros(
            size, dtype=torch.float64
        ).index_add_(0, cell, filled * inside).clamp(min=1)
        spread = mean[cell] * filled * inside
        clipped = within.clone()
        edges = inside.nonzero()
        if len(edges):  # what saturates is at the ends
            clipped[edges[0]] += counts[centers < least].sum()
            clipped[edges[-1]] += counts[centers > most].sum()
        p, q = clipped / clipped.sum(), spread / spread.sum()
        present = (p > 0) & inside
        found.append((p[present] * (p[present] / q[present].clamp(min=1e-12)).log()).sum())
    return torch.stack(found).nan_to_num(torch.inf)
