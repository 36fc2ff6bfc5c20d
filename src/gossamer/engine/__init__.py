"""The native runtime: plans a Program once per input shape, then runs it. NumPy alone."""

from .engine import Engine, operators
from .explanation import Step

__all__ = ["Engine", "Step", "operators"]
