"""EqualizeLayers: channels of one layer scaled down, of the next one up, so that one scale per tensor suits them.

Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.1.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Layer, Pass, layers, note, original, transforms

from .fold import add_bias, bias_of, fold_batch_norms
from .placement import base_name, operand

_POSITIVELY_HOMOGENEOUS = {"relu", "leaky_relu", "dropout", "max_pool2d", "avg_pool2d", "alias", "contiguous"}


@dataclass(frozen=True)
class EqualizeLayers(Pass):
    """Before Quantize: equalize the ranges of channels between layers with nothing but ReLU and pooling between them.

    Batch norms are folded first. The network computes the same. ``rounds``: at most so many walks over all pairs;
    fewer where the scales settle. It is of use for weights with one scale per tensor.
    """

    rounds: int = 20

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise RecipeError(f"EqualizeLayers(rounds={self.rounds}): give 1 or more")

    def __call__(self, graph: Graph, task: object) -> Graph:
        """A copy of ``graph`` with other weights."""
        equal = copy.deepcopy(graph)
        fold_batch_norms(equal)
        found = _pairs(equal)
        if not found:
            note("EqualizeLayers", "nothing to do: no two layers have only ReLU or pooling between them")
            return copy.deepcopy(graph)
        for _ in range(self.rounds):
            if max(_equalize(equal, *pair) for pair in found) < 1e-3:
                break
        equal.recompile()
        return equal


def _pairs(graph: Graph) -> list[tuple[Layer, Layer]]:
    """Layers whose output only the second one of the pair reads."""
    every = [
        layer for layer in layers(graph) if len(layer.nodes) == 1 and not transforms(graph, layer.weight)
    ]
    readers = {layer.node: layer for layer in every}
    found = []
    for layer in every:
        node = layer.node
        while len(node.users) == 1 and base_name(next(iter(node.users))) in _POSITIVELY_HOMOGENEOUS:
            node = next(iter(node.users))
        reader = readers.get(next(iter(node.users))) if len(node.users) == 1 else None
        if reader is None or operand(reader.node) is not node:
            _explain(layer, node)
        elif layer.kind == reader.kind and layer.output_axis == 0 and _has_bias_place(layer):
            found.append((layer, reader))
    return found


def _explain(layer: Layer, node: Node) -> None:
    stop = next(iter(node.users), None)
    if stop is not None and base_name(stop) in ("hardtanh", "relu6", "clamp"):
        note(
            layer.name,
            "not equalized: a clamp with an upper bound follows, which scaled channels would meet elsewhere",
        )


def _has_bias_place(layer: Layer) -> bool:
    return layer.kind in ("conv1d", "conv2d", "linear")


@torch.no_grad()
def _equalize(graph: Graph, first: Layer, second: Layer) -> float:
    """Equalize one pair in place; the greatest change, as |log| of a scale."""
    one, two = original(graph, first.weight), original(graph, second.weight)
    channels = one.shape[0]
    incoming = _by_input(two, second.groups, channels)
    ranges = one.abs().flatten(1).amax(1), incoming.abs().flatten(1).amax(1)
    usable = (ranges[0] > 0) & (ranges[1] > 0)
    scale = torch.where(usable, (ranges[0] / ranges[1].clamp(min=1e-30)).sqrt(), 1.0).clamp(1e-4, 1e4)
    one.div_(scale.view(-1, *[1] * (one.ndim - 1)))
    bias = bias_of(graph, first)
    if bias is not None:
        add_bias(graph, first, bias / scale)
    _scale_inputs(two, second.groups, scale)
    return float(scale.log().abs().max())


def _by_input(weight: Tensor, groups: int, channels: int) -> Tensor:
    """The weight with the input channel first: (channels, ...)."""
    if groups == 1:
        return weight.transpose(0, 1)
    split = weight.view(groups, -1, *weight.shape[1:])  # (groups, outputs, inputs of a group, ...)
    return split.transpose(1, 2).reshape(channels, -1)


def _scale_inputs(weight: Tensor, groups: int, scale: Tensor) -> None:
    split = weight.view(groups, -1, *weight.shape[1:])
    split.mul_(scale.view(groups, 1, -1, *[1] * (weight.ndim - 2)))
