"""Elements: every weight for itself (Han et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from gossamer.graph import Graph, Layer

from .granularity import Granularity, Groups


@final
@dataclass(frozen=True)
class Elements(Granularity):
    """Every weight for itself."""

    def groups(self, graph: Graph, layers: Sequence[Layer]) -> list[Groups]:
        """See :class:`Granularity`."""
        del graph
        return [_Elements(layer) for layer in layers]


class _Elements(Groups):
    size = 1

    def __init__(self, layer: Layer) -> None:
        self.name, self.weights, self._shape = layer.weight, (layer.weight,), layer.shape
        self.count = 1
        for length in layer.shape:
            self.count *= length

    def gather(self, values: Mapping[str, Tensor]) -> Tensor:
        return values[self.name].reshape(-1, 1)

    def spread(self, kept: Tensor) -> dict[str, Tensor]:
        return {self.name: kept.view(self._shape)}
