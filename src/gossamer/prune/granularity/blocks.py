"""Blocks: neighbouring weights together, by default in the shape that the Engine skips (docs/kernels.md, "Cells")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn.functional import pad

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Layer, note

from .granularity import Granularity, Groups, LayerGroups


@final
@dataclass(frozen=True)
class Blocks(Granularity):
    """``inputs`` neighbouring inputs of one kernel position, the same for ``outputs`` neighbouring outputs.

    The default 1x4 over 4 is the Engine's cell of bytes, shared by four rows: the pattern whose zeros save the most
    time in int8 networks. ``Blocks(outputs=4, inputs=1)`` is the same for float32 convolutions, whose cell is one
    weight; ``outputs`` 1 and 2 are slower and bend less. At ragged edges blocks are smaller. Raises RecipeError for
    lengths below 1.
    """

    outputs: int = 4
    inputs: int = 4

    def __post_init__(self) -> None:
        if self.outputs < 1 or self.inputs < 1:
            raise RecipeError(f"{self}: a block has at least 1 output and 1 input")

    def groups(self, graph: Graph, layers: Sequence[Layer]) -> list[Groups]:
        """See :class:`Granularity`."""
        del graph
        found: list[Groups] = []
        for layer in layers:
            if layer.output_axis is None or layer.input_axis is None:
                note(layer.weight, f"{self} leaves it alone: its outputs or inputs lie along no single axis")
                continue
            if layer.groups > 1 and layer.shape[layer.output_axis] // layer.groups % self.outputs:
                note(layer.weight, f"blocks of {self.outputs} outputs reach over its {layer.groups} groups")
            found.append(_Blocks(layer, self))
        return found


class _Blocks(LayerGroups):
    def __init__(self, layer: Layer, shape: Blocks) -> None:
        super().__init__(layer)
        self._block = shape
        self.size = shape.outputs * shape.inputs
        self._down, self._across = -(-self.outputs // shape.outputs), -(-self.inputs // shape.inputs)
        self._positions = 1
        for axis in self._order[2:]:
            self._positions *= layer.shape[axis]
        self.count = self._down * self._across * self._positions

    def gather(self, values: Mapping[str, Tensor]) -> Tensor:
        high, wide = self._block.outputs, self._block.inputs
        matrix = self.matrix(values[self.name])
        missing = (0, 0, 0, self._across * wide - self.inputs, 0, self._down * high - self.outputs)
        blocks = pad(matrix, missing).view(self._down, high, self._across, wide, self._positions)
        return blocks.permute(0, 2, 4, 1, 3).reshape(self.count, self.size)

    def spread(self, kept: Tensor) -> dict[str, Tensor]:
        high, wide = self._block.outputs, self._block.inputs
        matrix = kept.view(self._down, self._across, self._positions)
        matrix = matrix.repeat_interleave(high, 0).repeat_interleave(wide, 1)
        return {self.name: self.restored(matrix[: self.outputs, : self.inputs])}
