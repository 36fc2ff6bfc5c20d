"""Pruning: what to remove (granularity), by which measure (criteria), how much from where (allocation)."""

from .allocation import Allocation, Global, StdThreshold, Uniform
from .criteria import Criterion, Magnitude
from .granularity import Elements, Granularity
from .mask import Mask
from .prune import Prune

__all__ = [
    "Allocation",
    "Criterion",
    "Elements",
    "Global",
    "Granularity",
    "Magnitude",
    "Mask",
    "Prune",
    "StdThreshold",
    "Uniform",
]
