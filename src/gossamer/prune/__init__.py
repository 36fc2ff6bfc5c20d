"""Pruning: what (granularity), by which measure (criteria), how much from where (allocation), when (schedules)."""

from .allocation import *  # noqa: F403
from .allocation import __all__ as _allocation
from .criteria import *  # noqa: F403
from .criteria import __all__ as _criteria
from .gates import CloseGates, ExpectedL0, HardConcrete, OpenGates
from .granularity import *  # noqa: F403
from .granularity import __all__ as _granularity
from .mask import Mask, OpenMask
from .prune import Prune
from .schedules import *  # noqa: F403
from .schedules import __all__ as _schedules

__all__ = [
    "CloseGates",
    "ExpectedL0",
    "HardConcrete",
    "Mask",
    "OpenGates",
    "OpenMask",
    "Prune",
    *_allocation,
    *_criteria,
    *_granularity,
    *_schedules,
]
