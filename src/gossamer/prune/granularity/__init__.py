"""What is removed together: one granularity a file."""

from .blocks import Blocks
from .elements import Elements
from .granularity import Granularity, Groups
from .layers import Layers
from .nm import NM
from .units import Channels, Heads

__all__ = ["NM", "Blocks", "Channels", "Elements", "Granularity", "Groups", "Heads", "Layers"]
