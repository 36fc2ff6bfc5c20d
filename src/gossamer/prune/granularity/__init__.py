"""What is removed together: one granularity a file."""

from .blocks import Blocks
from .elements import Elements
from .granularity import Granularity, Groups
from .nm import NM

__all__ = ["NM", "Blocks", "Elements", "Granularity", "Groups"]
