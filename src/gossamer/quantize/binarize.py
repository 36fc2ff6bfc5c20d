"""Binarize: weights of two values, and activations of two values, on which products are counts of bits.

Courbariaux, Bengio, David: BinaryConnect: Training Deep Neural Networks with binary weights during propagations. 2015.
Rastegari, Ordonez, Redmon, Farhadi: XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks. 2016,
equations 6 and 11. (The scales of the activations, equation 10, are left out: a batch norm does their work.)
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

from .binary_activations import binarize_inputs
from .levels import FewLevels, ternary_weight
from .types import Granularity, PerChannel
from .weights import Rows


class Binary(WeightTransform):
    """scale sign(w); a weight that is zero is removed and stays zero.

    ``bound`` above 0: the scale is that number, and training keeps the weight underneath within -bound..bound
    (BinaryConnect); 0: it is the mean magnitude of each row of ``Rows(axis, block)`` (-1 and 0 for None), as the
    weight is at the moment (XNOR-Net). ``stochastic``, with a bound: while training the sign is drawn, positive with
    the probability (w / bound + 1) / 2; what ships is always sign(w).
    """

    def __init__(self, bound: float, axis: int, block: int, stochastic: bool) -> None:
        super().__init__()
        self.bound, self.stochastic = bound, stochastic
        self.rows = Rows(None if axis < 0 else axis, block or None)

    def scales(self, weight: Tensor) -> Tensor:
        """The scale of each row, (rows,)."""
        split = self.rows.split(weight).abs()
        if self.bound:
            return split.new_full((len(split),), self.bound)
        return split.sum(1) / (split != 0).sum(1).clamp(min=1)

    def forward(self, weight: Tensor) -> Tensor:
        """The binary weight; the gradient of a sign is passed on as it is."""
        signs = weight.detach().sign()
        if self.stochastic and self.training:
            chance = (weight.detach() / self.bound + 1) / 2
            signs = torch.where(torch.rand_like(signs) < chance, signs.abs(), -signs.abs())
        if self.bound:
            return straight_through(self.bound * signs, weight)
        return self.rows.spread(self.scales(weight), weight.shape) * straight_through(signs, weight)

    def settle(self, original: Tensor, chance: torch.Generator) -> None:
        """Clip the weight underneath: beyond the bound it would only take longer to come back."""
        del chance
        if self.bound:
            original.clamp_(-self.bound, self.bound)

    @torch.no_grad()
    def represent(self, weight: Weight) -> Weight:
        """The signs and the scales."""
        values = torch.from_numpy(np.array(decode(weight)))
        return ternary_weight(weight, values.sign(), self.scales(values), self.rows)

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        axis = -1 if self.rows.axis is None else self.rows.axis
        return {
            "bound": self.bound,
            "axis": axis,
            "block": self.rows.block or 0,
            "stochastic": self.stochastic,
        }


class BinaryScale(abc.ABC):
    """What a binary weight's magnitude is."""

    @abc.abstractmethod
    def transform(self, layer: Layer) -> WeightTransform:
        """The transform for the weight of ``layer``."""


@final
@dataclass(frozen=True)
class MeanMagnitude(BinaryScale):
    """The mean magnitude of the weights that share a scale: the nearest that binary weights come (XNOR-Net)."""

    granularity: Granularity = PerChannel()

    def transform(self, layer: Layer) -> WeightTransform:
        """See :class:`BinaryScale`."""
        rows = Rows.of(self.granularity, layer)
        return Binary(0.0, -1 if rows.axis is None else rows.axis, rows.block or 0, stochastic=False)


@final
@dataclass(frozen=True)
class BinaryConnect(BinaryScale):
    """One number, which is also what the weights underneath are clipped to; batch norms behind the layers are needed.

    ``bound``: 1.0 is the paper's; None: sqrt(6 / (inputs + outputs)), how far Glorot's initialization reaches, which is
    the paper's 1.0 with its learning rates scaled by layer. ``stochastic``: signs are drawn while training.
    """

    bound: float | None = None
    stochastic: bool = False

    def __post_init__(self) -> None:
        if self.bound is not None and not self.bound > 0:
            raise RecipeError(f"{self}: give a bound above 0, or None")

    def transform(self, layer: Layer) -> WeightTransform:
        """See :class:`BinaryScale`."""
        outputs = layer.shape[layer.output_axis or 0]
        elements = int(np.prod(layer.shape))
        inputs = elements // outputs
        around = elements // (outputs * layer.shape[layer.input_axis]) if layer.input_axis is not None else 1
        bound = self.bound or (6 / (inputs + outputs * around)) ** 0.5
        return Binary(bound, -1, 0, self.stochastic)


@final
@dataclass(frozen=True)
class Binarize(FewLevels):
    """Give the weights of each layer two values, and with ``activations`` the inputs of its products too.

    ``scale``: ``MeanMagnitude()`` (XNOR-Net) or ``BinaryConnect()``. ``activations``: the input of a layer becomes its
    signs, and a ReLU in front, whose signs are all positive, is left out; the Engine computes such layers by counting
    bits. The rest as in :class:`FewLevels`; ``exempt`` usually is ``[First(), Last()]``.
    """

    scale: BinaryScale = MeanMagnitude()
    activations: bool = False

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` whose weights are binary."""
        del task
        chosen = self._chosen(graph)
        binary = self._transformed(graph, chosen, lambda layer, _: self.scale.transform(layer))
        if self.activations:
            binarize_inputs(binary, {layer.weight for layer in chosen})
        return binary
