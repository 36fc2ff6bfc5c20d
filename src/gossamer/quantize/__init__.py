"""Fewer bits per number: integers for weights and activations, and weight sharing by k-means."""

from .activations import Fixed, Learned, Tracked, is_quantizers
from .cluster import Cluster, SharedValues
from .fold import FoldBatchNorm, without_batch_norms
from .quantize import Dynamic, First, Last, Quantize
from .ranges import EMA, KL, MSE, MinMax, Percentile
from .types import Int, Int4, Int8, PerChannel, PerGroup, PerTensor
from .weights import FakeQuantize

__all__ = [
    "EMA",
    "KL",
    "MSE",
    "Cluster",
    "Dynamic",
    "FakeQuantize",
    "First",
    "Fixed",
    "FoldBatchNorm",
    "Int",
    "Int4",
    "Int8",
    "Last",
    "Learned",
    "MinMax",
    "PerChannel",
    "PerGroup",
    "PerTensor",
    "Percentile",
    "Quantize",
    "SharedValues",
    "Tracked",
    "is_quantizers",
    "without_batch_norms",
]
