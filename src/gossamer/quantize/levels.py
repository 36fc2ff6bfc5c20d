"""Weights of a few levels: which layers get them, and what they are in a file. For the passes of very low bits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gossamer.graph import (
    Graph,
    Layer,
    WeightTransform,
    add_transform,
    effective,
    layers,
    note,
    replace_transform,
    transforms,
)
from gossamer.graph.select import choose
from gossamer.weights import Quantized, Weight, with_codebook

from .quantize import Exemption
from .weights import Rows


def chosen_layers(
    graph: Graph, exempt: Sequence[Exemption], overrides: Mapping[str, bool], who: str
) -> list[Layer]:
    """The layers that the pass called ``who`` works on: not those ``exempt`` by rule, unless a pattern says True.

    Raises RecipeError for a pattern that matches no layer.
    """
    every = layers(graph)
    choice = choose(every, True, overrides, who)
    left = {layer.weight for rule in exempt for layer in rule.of(every)} - choice.own
    for layer in every:
        if layer.weight in left and choice.values.get(layer.weight):
            note(layer.weight, "stays in float: exempt by rule")
    return [layer for layer in every if choice.values.get(layer.weight) and layer.weight not in left]


def transformed(
    graph: Graph, chosen: Sequence[Layer], who: str, make: Callable[[Layer, Tensor], WeightTransform]
) -> Graph:
    """A copy of ``graph`` in which each weight ends in ``make(layer, weight)``, in place of one of the same type."""
    changed = copy.deepcopy(graph)
    if not chosen:
        note(who, "nothing to do: every layer is left alone")
    for layer in chosen:
        weight = effective(changed, layer.weight)
        if not bool((weight != 0).any()):
            note(layer.weight, f"{who} leaves it alone: every weight is zero")
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
