"""Surgery on graphs: what is removed is gone, and the shapes shrink."""

from gossamer.graph.edit.depth import ResidualBlock, remove_blocks, residual_blocks
from gossamer.graph.edit.put_back import put_back
from gossamer.graph.edit.remove import remove_units

__all__ = ["ResidualBlock", "put_back", "remove_blocks", "remove_units", "residual_blocks"]
