"""Batch norm folded into the convolution or linear layer before it.

Jacob et al. 2018, section 3.2. In inference batch norm multiplies each channel by f = gamma / sqrt(var + eps) and adds
beta - mean f; both become the layer's. A weight that is quantized with a scale for each output channel is folded
exactly, for its scales take the factor: so quantization-aware training keeps the batch norm, with the statistics of
each batch, and the file has none.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.fx import Node

from gossamer.graph import (
    Graph,
    Layer,
    Pass,
    WeightTransform,
    layers,
    note,
    original,
    replace_transform,
    shapes,
    transformed_weights,
    transforms,
)
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments, average_factor, count_batch, set_argument
from gossamer.graph.transform import effective
from gossamer.numerics.batchnorm import fold_factor, follow_fold
from gossamer.task import Task

from .weights import FakeQuantize, FoldedQuantize

_FOLDS_INTO = (
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "linear",
    "addmm",
)


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Fold every batch norm that follows a convolution or linear layer into it, with its running statistics.

    What cannot be folded (another reader in between, a shared weight, a codebook) is noted and left.
    """

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` without these batch norms."""
        del task
        folded = copy.deepcopy(graph)
        if not fold_batch_norms(folded):
            note("FoldBatchNorm", "nothing to do: no batch norm follows a convolution or linear layer")
        return folded


def without_batch_norms(graph: Graph) -> Graph:
    """``graph`` as it ships: batch norms behind quantized layers folded, in a copy where there are any."""

    def found(graph: Graph) -> list[Pair]:
        quantized = [w for w in transformed_weights(graph) if is_quantized(graph, w)]
        return [pair for pair in pairs(graph) if pair.layer.weight in quantized] if quantized else []

    if not found(graph):
        return graph
    folded = copy.deepcopy(graph)
    for pair in found(folded):
        fold_pair(folded, pair)
    folded.recompile()
    return folded


def is_quantized(graph: Graph, weight: str) -> bool:
    """Whether the last transform of the weight is FakeQuantize."""
    present = transforms(graph, weight)
    return bool(present) and isinstance(present[-1], FakeQuantize)


def is_corrected(graph: Graph, weight: str) -> bool:
    """Whether the last transform of the weight quantizes the fold of the batch norm behind (``corrected_fold``)."""
    present = transforms(graph, weight)
    return bool(present) and isinstance(present[-1], FoldedQuantize)


@dataclass(frozen=True)
class Pair:
    """A layer, and the batch norm that alone reads it."""

    layer: Layer
    norm: Node


def pairs(graph: Graph) -> Iterator[Pair]:
    """Layers with the batch norm behind them."""
    values = cache(lambda: shapes(graph, batch=2))  # of most networks none are needed
    for layer in layers(graph):
        users = list(layer.node.users)
        follows = len(layer.nodes) == 1 and len(users) == 1 and operator_name(users[0]) == "batch_norm"
        if not follows or layer.kind not in _FOLDS_INTO:
            continue
        if layer.output_axis is None or (layer.kind.startswith("conv_transpose") and layer.groups > 1):
            note(layer.name, "its batch norm is not folded: the weight's output channels are not one axis")
        elif not layer.kind.startswith("conv") and values()[layer.node].ndim != 2:
            continue
        else:
            yield Pair(layer, users[0])


def fold_batch_norms(graph: Graph) -> int:
    """Fold in place what :class:`FoldBatchNorm` says; how many were folded."""
    folded = sum(fold_pair(graph, pair) for pair in list(pairs(graph)))
    graph.recompile()
    return folded


def statistics(graph: Graph, norm: Node) -> tuple[Tensor, Tensor] | None:
    """The factor of each channel and what is added, (channels,), from the running statistics; None without these."""
    given = arguments(norm)
    mean, variance = _tensor(graph, given["running_mean"]), _tensor(graph, given["running_var"])
    if mean is None or variance is None:
        return None
    gamma, beta = _tensor(graph, given["weight"]), _tensor(graph, given["bias"])
    factor = fold_factor(gamma, variance, given["eps"])
    shift = -mean.double() * factor
    return factor, shift if beta is None else shift + beta.double()


def _tensor(graph: Graph, node: object) -> Tensor | None:
    return effective(graph, str(node.target)) if isinstance(node, Node) else None


@torch.no_grad()
def fold_pair(graph: Graph, pair: Pair) -> bool:
    """Fold one batch norm in place; whether that could be done. The graph is to be recompiled afterwards."""
    layer = pair.layer
    found = statistics(graph, pair.norm)
    if found is None:
        note(layer.name, "its batch norm is not folded: it has no running statistics")
        return False
    factor, shift = found
    if not scale_channels(graph, layer, factor):
        note(layer.name, "its batch norm is not folded: the transforms of the weight do not scale by channel")
        return False
    old = bias_of(graph, layer)
    add_bias(graph, layer, shift if old is None else shift + old.double() * factor)
    _forget_follower(graph, layer)
    _remove(graph, pair)
    return True


@torch.no_grad()
def scale_channels(graph: Graph, layer: Layer, factor: Tensor) -> bool:
    """Multiply the weight's output channels by ``factor``, (channels,), in place, quantized scales with it.

    False, and nothing changed, where the transformed weight would not become exactly the old one times the factor.
    """
    if not scales_by_channel(graph, layer, factor):
        return False
    weight = original(graph, layer.weight)
    for place, step in enumerate(transforms(graph, layer.weight)):
        replace_transform(graph, layer.weight, place, _scaled(step, factor, layer.output_axis))
    weight.copy_(weight.double() * _across(layer, factor, weight))
    return True


@torch.no_grad()
def scales_by_channel(graph: Graph, layer: Layer, factor: Tensor) -> bool:
    """Whether the weight's transforms make of the scaled weight the scaled weight that they make now."""
    weight, steps = original(graph, layer.weight), transforms(graph, layer.weight)
    across = _across(layer, factor, weight)
    before, after = weight, (weight.double() * across).to(weight.dtype)
    for step in steps:
        if isinstance(step, FoldedQuantize):
            step.factor.copy_(torch.where(factor == 0, 1.0, factor))
        same = copy.deepcopy(step).eval()  # nothing drawn by chance
        before, after = same(before), _scaled(same, factor, layer.output_axis)(after)
    wanted = (before.double() * across).to(before.dtype)
    tolerance = 2e-2 if any(isinstance(step, FakeQuantize) for step in steps) else 1e-5
    return bool(((after - wanted).abs() <= tolerance * wanted.abs().max() + 1e-30).all())


def _across(layer: Layer, factor: Tensor, weight: Tensor) -> Tensor:
    return factor.view([-1 if axis == layer.output_axis else 1 for axis in range(weight.ndim)])


def _scaled(step: WeightTransform, factor: Tensor, axis: int | None) -> WeightTransform:
    """``step`` for the weight times ``factor``."""
    if isinstance(step, FoldedQuantize):
        return step.folded
    if not isinstance(step, FakeQuantize) or step.how == "follows":
        return step
    if step.rows.axis != axis or step.rows.block is not None or not step.grid.symmetric:
        return step
    wide = torch.where(factor == 0, 1.0, factor.abs()).to(step.scale.dtype)
    return FakeQuantize.on(step.grid, step.rows, step.scale.detach() * wide, step.zero_point, step.how)


def bias_of(graph: Graph, layer: Layer) -> Tensor | None:
    """What the layer adds to each output channel."""
    name = "self" if layer.kind == "addmm" else "bias"
    return _tensor(graph, arguments(layer.node).get(name))


@torch.no_grad()
def add_bias(graph: Graph, layer: Layer, bias: Tensor) -> None:
    """Let the layer add ``bias``, (channels,), instead of what it adds now. Recompile ``graph`` afterwards."""
    name = "self" if layer.kind == "addmm" else "bias"
    present = arguments(layer.node).get(name)
    like = original(graph, layer.weight)
    value = bias.to(like.dtype)
    if isinstance(present, Node) and present.op == "get_attr" and len(present.users) == 1:
        original(graph, str(present.target)).copy_(value)
        return
    path = layer.weight.rpartition(".")[0]
    owner = graph.get_submodule(path)
    free = next(n for n in ("bias", *(f"bias_{i}" for i in range(1, 99))) if getattr(owner, n, None) is None)
    owner.register_parameter(free, nn.Parameter(value, requires_grad=like.requires_grad))
    with graph.graph.inserting_before(layer.node):
        read = graph.graph.get_attr(f"{path}.{free}" if path else free)
    read.meta = dict(layer.node.meta)
    set_argument(layer.node, name, read)


def _forget_follower(graph: Graph, layer: Layer) -> None:
    """Erase the node that kept the factor of the weight's FoldedQuantize, if there is one."""
    owner, _, name = layer.weight.rpartition(".")
    place = f"{owner}.parametrizations.{name}.".lstrip(".")
    for node in graph.graph.find_nodes(op="call_function", target=follow_fold):
        if str(cast(Node, node.args[0]).target).startswith(place):
            inputs = node.all_input_nodes
            graph.graph.erase_node(node)
            for read in inputs:
                if not read.users:
                    graph.graph.erase_node(read)


def _remove(graph: Graph, pair: Pair) -> None:
    """Take the batch norm out, with its counter and what nothing reads any more."""
    norm, nodes = pair.norm, graph.graph
    norm.replace_all_uses_with(pair.layer.node)
    inputs = [node for node in norm.all_input_nodes if node is not pair.layer.node]
    mean = str(cast(Node, arguments(norm)["running_mean"]).target)
    counter = mean.removesuffix("running_mean") + "num_batches_tracked"
    nodes.erase_node(norm)
    for node in list(nodes.nodes):
        counts = node.target in (count_batch, average_factor)
        if counts and cast(Node, node.args[0]).target == counter and not node.users:
            inputs += node.all_input_nodes
            nodes.erase_node(node)
    for node in dict.fromkeys(inputs):
        if not node.users and node.op == "get_attr":
            nodes.erase_node(node)
            _forget(graph, str(node.target))


def _forget(graph: Graph, name: str) -> None:
    """Delete a tensor that no node reads and no other name shares."""
    shared = name in graph.tied or name in graph.tied.values()
    if shared or any(node.target == name for node in graph.graph.find_nodes(op="get_attr")):
        return
    path, _, last = name.rpartition(".")
    owner = graph.get_submodule(path)
    if last in owner._parameters or last in owner._buffers:
        delattr(owner, last)
