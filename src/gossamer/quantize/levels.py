"""Weights of a few levels: which layers get them, and what they are in a file. For the passes of very low bits."""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gossamer.graph import (
    Graph,
    Layer,
    Pass,
    WeightTransform,
    add_transform,
    effective,
    layers,
    note,
    replace_transform,
    transforms,
)
from gossamer.graph.select import choose
from gossamer.task import Task
from gossamer.weights import Quantized, Weight, with_codebook

from .quantize import Exemption
from .weights import Rows


@dataclass(frozen=True)
class FewLevels(Pass, abc.ABC):
    """A pass that gives the weights of each layer a few levels; ``Finetune`` behind it trains the real ones underneath.

    ``exempt``: rules for layers that stay as they are; ``overrides``: True or False for the weight of every layer that
    a pattern matches. A weight that is zero stays zero. Raises RecipeError for a pattern that matches nothing.
    """

    exempt: Sequence[Exemption] = field(default=(), kw_only=True)
    overrides: Mapping[str, bool] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "exempt", tuple(self.exempt))

    def check(self, graph: Graph, task: Task) -> None:
        """Every pattern matches a layer."""
        del task
        self._chosen(graph)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _chosen(self, graph: Graph) -> list[Layer]:
        """The layers that this works on: not those exempt by rule, unless a pattern says True."""
        every = layers(graph)
        choice = choose(every, True, self.overrides, self._name)
        left = {layer.weight for rule in self.exempt for layer in rule.of(every)} - choice.own
        for layer in every:
            if layer.weight in left and choice.values.get(layer.weight):
                note(layer.weight, "stays in float: exempt by rule")
        return [layer for layer in every if choice.values.get(layer.weight) and layer.weight not in left]

    def _transformed(
        self, graph: Graph, chosen: Sequence[Layer], make: Callable[[Layer, Tensor], WeightTransform]
    ) -> Graph:
        """A copy of ``graph`` whose weights end in ``make(layer, weight)``, in place of a transform of its type."""
        changed = copy.deepcopy(graph)
        if not chosen:
            note(self._name, "nothing to do: every layer is left alone")
        for layer in chosen:
            weight = effective(changed, layer.weight)
            if not bool((weight != 0).any()):
                note(layer.weight, f"{self._name} leaves it alone: every weight is zero")
                continue
            made = make(layer, weight)
            present = transforms(changed, layer.weight)
            if present and type(present[-1]) is type(made):
                replace_transform(changed, layer.weight, len(present) - 1, made)
            else:
                add_transform(changed, layer.weight, made)
        return changed


def ternary_weight(weight: Weight, signs: Tensor, scale: Tensor, rows: Rows) -> Weight:
    """``signs`` (-1, 0 or 1) times the scale of each row, (rows,): a codebook where there is one scale, else 2 bits.

    ``weight``: what the representation was; what it leaves out stays left out.
    """
    ints: npt.NDArray[np.int8] = signs.cpu().numpy().astype(np.int8)
    if rows.axis is None:
        return with_codebook(weight, ints + 1, float(scale) * np.array([-1.0, 0.0, 1.0], np.float32))
    scales = rows.shaped(torch.where(scale > 0, scale, 1.0).cpu(), signs.shape).contiguous().numpy()
    scales = scales.astype(np.float32)
    return Quantized(ints, scales, np.zeros(scales.shape, np.int8), rows.axis, 2, rows.block)
