"""Ternarize: weights of -scale, 0 and scale.

Li, Zhang, Liu: Ternary Weight Networks. 2016, equations 3 to 6.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Layer, WeightTransform
from gossamer.numerics.signs import straight_through
from gossamer.task import Task
from gossamer.weights import Weight, decode

from .levels import FewLevels, ternary_weight
from .types import Granularity, PerTensor
from .weights import Rows


class Ternary(WeightTransform):
    """scale sign(w) where \\|w\\| is above ``threshold`` times the mean of \\|w\\|, else 0.

    The scale is the mean of \\|w\\| above the threshold, of the weight as it is at the moment. Both are those of a row
    of ``Rows(axis, block)`` (-1 and 0 for None); a weight that is zero is removed and counts in neither.
    """

    def __init__(self, threshold: float, axis: int, block: int) -> None:
        super().__init__()
        self.threshold = threshold
        self.rows = Rows(None if axis < 0 else axis, block or None)

    def parts(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The signs, of the weight's shape, and the scales, (rows,)."""
        split = self.rows.split(weight.detach()).abs()
        limit = self.threshold * split.sum(1) / (split != 0).sum(1).clamp(min=1)
        large = split > limit[:, None]
        scale = (split * large).sum(1) / large.sum(1).clamp(min=1)
        beyond = weight.detach().abs() > self.rows.spread(limit, weight.shape)
        return weight.detach().sign() * beyond, scale

    def forward(self, weight: Tensor) -> Tensor:
        """The ternary weight; the gradient passes to the weight underneath as it is."""
        signs, scale = self.parts(weight)
        return straight_through(signs * self.rows.spread(scale, weight.shape), weight)

    @torch.no_grad()
    def represent(self, weight: Weight) -> Weight:
        """The signs and the scales."""
        signs, scale = self.parts(torch.from_numpy(np.array(decode(weight))))
        return ternary_weight(weight, signs, scale, self.rows)

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        axis = -1 if self.rows.axis is None else self.rows.axis
        return {"threshold": self.threshold, "axis": axis, "block": self.rows.block or 0}


class TernaryScales(abc.ABC):
    """Where the two levels besides zero come from."""

    @abc.abstractmethod
    def transform(self, layer: Layer, weight: Tensor) -> WeightTransform:
        """The transform for the weight of ``layer``, which is ``weight`` now."""


@final
@dataclass(frozen=True)
class TWN(TernaryScales):
    """Ternary Weight Networks: from the weights, one scale for all that share one by ``granularity``.

    ``threshold``: 0.7 is the paper's approximation of the best for uniform and normal weights.
    """

    granularity: Granularity = PerTensor()
    threshold: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 10:
            raise RecipeError(f"{self}: a threshold is a small multiple of the mean, as 0.7")

    def transform(self, layer: Layer, weight: Tensor) -> WeightTransform:
        """See :class:`TernaryScales`."""
        rows = Rows.of(self.granularity, layer)
        return Ternary(self.threshold, -1 if rows.axis is None else rows.axis, rows.block or 0)


@final
@dataclass(frozen=True)
class Ternarize(FewLevels):
    """Give the weights of each layer three values, one of them zero; a ``Finetune`` after it trains them.

    ``scales``: ``TWN()``, or ``TTQ()`` whose two scales are trained. The rest as in :class:`FewLevels`.
    """

    scales: TernaryScales = TWN()

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` whose weights are ternary."""
        del task
        chosen = self._chosen(graph)
        return self._transformed(graph, chosen, self.scales.transform)
