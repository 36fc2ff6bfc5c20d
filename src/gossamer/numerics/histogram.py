"""Histograms of streams: bounded memory, whatever comes, in whatever order."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Histogram:
    """Counts of the values of a stream in at most ``bins`` bins whose width is a power of two.

    Bin k holds the values from (start + k) width to (start + k + 1) width, so that zero is an edge and doubling
    the width merges bins in pairs without splitting one. ``zeros`` are counted apart: quantization does them no
    harm. ``lower``, ``upper``: the extremes, exactly. Values that are not finite are left out.
    """

    def __init__(self, bins: int = 2048) -> None:
        self.bins, self.start, self.width = bins, 0, 0.0
        self.counts = torch.zeros(bins, dtype=torch.float64)
        self.zeros = 0
        self.lower = self.upper = 0.0

    def add(self, x: Tensor) -> None:
        """Count the values of ``x``, a floating-point tensor."""
        x = x.detach().reshape(-1).float()
        lower, upper = (float(bound) for bound in torch.aminmax(x)) if x.numel() else (0.0, 0.0)
        if not math.isfinite(upper - lower):
            x = x[torch.isfinite(x)]
            lower, upper = (float(bound) for bound in torch.aminmax(x)) if x.numel() else (0.0, 0.0)
        zeros = x.numel() - int(torch.count_nonzero(x))
        self.zeros += zeros
        if zeros == x.numel():
            return
        self.lower, self.upper = min(self.lower, lower), max(self.upper, upper)
        self._make_room()
        least, most = self.start * self.width, (self.start + self.bins) * self.width
        self.counts += torch.histc(x, self.bins, least, most).double().cpu()
        self.counts[-self.start] -= zeros  # the bin that begins with zero, for start <= 0

    def _make_room(self) -> None:
        """Widen the bins until all of lower..upper is in them."""
        if not self.width:
            self.width = 2.0 ** math.ceil(math.log2((self.upper - self.lower) / (self.bins - 1)))
            self.start = math.floor(self.lower / self.width)
        while not self._fits():
            start = self.start // 2
            merged = torch.zeros_like(self.counts)
            places = (torch.arange(self.bins) + self.start) // 2 - start
            self.counts = merged.index_add_(0, places, self.counts)
            self.start, self.width = start, self.width * 2
        start = math.floor(self.lower / self.width)
        self.counts = torch.roll(self.counts, self.start - start)  # what it moves around the end is zero
        self.start = start

    def _fits(self) -> bool:
        return math.floor(self.upper / self.width) - math.floor(self.lower / self.width) < self.bins

    @property
    def centers(self) -> Tensor:
        """The middle of every bin, float64."""
        return (torch.arange(self.bins, dtype=torch.float64) + self.start + 0.5) * self.width

    def quantile(self, share: float) -> float:
        """The value below which ``share`` of all values are, zeros among them; linear within a bin."""
        counts = self.counts.clone()
        counts[-self.start] += self.zeros
        below = counts.cumsum(0)
        wanted = share * float(below[-1])
        place = min(int(torch.searchsorted(below, wanted)), self.bins - 1)
        before = float(below[place - 1]) if place else 0.0
        part = (wanted - before) / float(counts[place]) if counts[place] > 0 else 0.0
        value = (self.start + place + part) * self.width
        return min(max(value, self.lower), self.upper)
