"""Layers: whole residual blocks, removed by leaving their shortcut alone.

Huang, Sun, Liu, Sedra, Weinberger: Deep Networks with Stochastic Depth. 2016. Fan, Grave, Joulin: Reducing Transformer
Depth on Demand with Structured Dropout. 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import pad

from gossamer.graph import Graph, Layer, ResidualBlock, note, original, remove_blocks, residual_blocks

from .granularity import Granularity, Groups

_NAME = "residual blocks"


@final
@dataclass(frozen=True)
class Layers(Granularity):
    """Depth: of all residual blocks the share that is worth least goes.

    A block is what lies between a tensor and the sum that adds to it; blocks whose shortcut changes the shape stay,
    and so do blocks with a layer of amount 0. Of nested blocks the outer one takes the inner ones with it.
    """

    def groups(self, graph: Graph, layers: Sequence[Layer]) -> list[Groups]:
        """See :class:`Granularity`."""
        chosen = {layer.weight for layer in layers}
        blocks = [block for block in residual_blocks(graph) if set(block.weights) <= chosen]
        if not blocks:
            note("Layers", "no residual block (x + f(x), f with weights of its own) that may go was found")
            return []
        return [_Blocks(graph, blocks)]

    def removed(self, graph: Graph, groups: Sequence[Groups], kept: Mapping[str, Tensor]) -> Graph:
        """See :class:`Granularity`."""
        (ours,) = groups
        assert isinstance(ours, _Blocks)  # made above
        gone = [name for name, stays in zip(ours.blocks, kept[_NAME].tolist(), strict=False) if not stays]
        for name in gone:
            note(name, "removed: its shortcut remains")
        smaller = remove_blocks(graph, [block for block in residual_blocks(graph) if block.name in gone])
        smaller.units_before = {_NAME: len(ours.blocks), **smaller.units_before}
        return smaller


class _Blocks(Groups):
    """All blocks together; those that were removed before come after those that are there."""

    def __init__(self, graph: Graph, blocks: Sequence[ResidualBlock]) -> None:
        self.name, self.blocks = _NAME, [block.name for block in blocks]
        self.count = max(len(blocks), graph.units_before.get(_NAME, 0))
        self._inside = [block.weights for block in blocks]
        self.weights = tuple(dict.fromkeys(name for block in blocks for name in block.weights))
        self._shapes = {name: original(graph, name).shape for name in self.weights}
        self.size = max(sum(self._shapes[name].numel() for name in names) for names in self._inside)

    def gather(self, values: Mapping[str, Tensor]) -> Tensor:
        rows = [torch.cat([values[name].reshape(-1) for name in names]) for names in self._inside]
        together = torch.stack([pad(row, (0, self.size - len(row))) for row in rows])
        return pad(together, (0, 0, 0, self.count - len(rows)))

    def spread(self, kept: Tensor) -> dict[str, Tensor]:
        masks = {
            name: torch.ones(shape, dtype=torch.bool, device=kept.device)
            for name, shape in self._shapes.items()
        }
        for names, stays in zip(self._inside, kept.tolist(), strict=False):
            for name in () if stays else names:
                masks[name].fill_(value=False)
        return masks
