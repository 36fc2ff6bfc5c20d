"""One-dimensional k-means on a million weights, one thread: ``python bench/kmeans.py``. Median of five."""

import statistics
import time

import torch

from gossamer.numerics import Density, Linear, Random, kmeans


def seconds(start) -> float:
    values = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    began = time.perf_counter()
    kmeans(values, 256, start)
    return time.perf_counter() - began


if __name__ == "__main__":
    torch.set_num_threads(1)
    for start in (Linear(), Density(), Random()):
        print(f"{start!r:16} {statistics.median(seconds(start) for _ in range(5)):.2f} s")
