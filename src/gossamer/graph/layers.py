"""The weights that compression works on, found by the operators that use them and never by module classes.

A convolution written with ``F.conv2d``, a linear layer written ``x @ w.t() + b`` and ``nn.Linear`` are layers
alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Node

from gossamer.graph.modes import arguments
from gossamer.graph.module import Graph
from gossamer.graph.transform import original


@dataclass(frozen=True)
class Layer:
    """One weight and the operators that use it.

    ``name`` is the weight's without ".weight" ("fc1"); ``kind`` the operator's name ("linear", "conv2d",
    "matmul", "embedding", "lstm" ...), of the first node in ``nodes``; ``shape`` is the weight's. Along
    ``output_axis`` of the weight lie the neurons (channels, filters) that it makes, along ``input_axis``
    those that it reads, both within one of ``groups``; None where the graph reshapes the weight so that no
    single axis does.
    """

    name: str
    weight: str
    kind: str
    shape: tuple[int, ...]
    output_axis: int | None
    input_axis: int | None
    groups: int
    nodes: tuple[Node, ...]

    @property
    def node(self) -> Node:
        """The first operator that uses the weight."""
        return self.nodes[0]


@dataclass(frozen=True)
class _Use:
    """``operand`` of ``node`` is multiplied as a weight; its dimensions ``output`` and ``input`` are the
    layer's.
    """

    node: Node
    operand: Node
    output: int
    input: int


# Operator -> the weight's argument, and its output and input dimension.
_WEIGHTED = {
    "linear": ("weight", 0, 1),
    "conv1d": ("weight", 0, 1),
    "conv2d": ("weight", 0, 1),
    "conv3d": ("weight", 0, 1),
    "conv_transpose1d": ("weight", 1, 0),
    "conv_transpose2d": ("weight", 1, 0),
    "conv_transpose3d": ("weight", 1, 0),
    "embedding": ("weight", 1, 0),
}
# Operator -> its two factors.
_PRODUCTS = {"mm": ("self", "mat2"), "matmul": ("self", "other"), "addmm": ("mat1", "mat2")}
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_REARRANGES = {
    *(
        "t",
        "transpose",
        "permute",
        "view",
        "reshape",
        "numpy_T",
        "mT",
        "unsqueeze",
        "squeeze",
        "expand",
        "flatten",
    ),
}
_KEEPS = {"contiguous", "clone", "detach", "alias", "to", "_to_copy", "lift_fresh_copy"}


def layers(graph: Graph) -> list[Layer]:
    """The layers in order of execution; a weight with several uses is one layer with several nodes."""
    found: dict[str, Layer] = {}
    for use in _uses(graph.graph):
        source, chain = _source(use.operand)
        if source is None or not _is_parameter(graph, str(source.target)):
            continue
        weight = str(source.target)
        if weight in found:
            nodes = found[weight].nodes
            found[weight] = replace(found[weight], nodes=nodes if use.node in nodes else (*nodes, use.node))
            continue
        shape = tuple(original(graph, weight).shape)
        output_axis, input_axis = _axes(shape, chain, use)
        found[weight] = Layer(
            name=weight.removesuffix(".weight"),
            weight=weight,
            kind=operator_name(use.node),
            shape=shape,
            output_axis=output_axis,
            input_axis=input_axis,
            groups=int(arguments(use.node).get("groups", 1)),
            nodes=(use.node,),
        )
    return list(found.values())


def computed_weights(graph: Graph) -> list[Node]:
    """Linear and convolution operators whose weight is computed (weight norm ...) and thus no layer."""
    uses = (use for use in _uses(graph.graph) if operator_name(use.node) in _WEIGHTED)
    return [use.node for use in uses if _source(use.operand)[0] is None]


def operator_name(node: Node) -> str:
    """The operator without its overload: "conv2d" for ``aten.conv2d.padding``; empty for other nodes."""
    target = node.target
    return target.overloadpacket.__name__ if isinstance(target, torch._ops.OpOverload) else ""


def _uses(graph: torch.fx.Graph) -> Iterator[_Use]:
    for node in graph.nodes:
        name = operator_name(node)
        if name in _WEIGHTED:
            argument, output, input_ = _WEIGHTED[name]
            yield _Use(node, arguments(node)[argument], output, input_)
        elif name in _PRODUCTS:
            left, right = (arguments(node)[argument] for argument in _PRODUCTS[name])
            yield _Use(node, right, -1, -2)
            yield _Use(node, left, -2, -1)
        elif name in _RECURRENT:
            for parameter in arguments(node)["params"]:
                yield _Use(node, parameter, 0, 1)


def _is_parameter(graph: Graph, name: str) -> bool:
    tensor = original(graph, name)
    return isinstance(tensor, nn.Parameter) and tensor.ndim >= 2


def _source(operand: Node) -> tuple[Node | None, list[Node]]:
    """The get_attr node behind views of it, and those views, first applied first."""
    chain: list[Node] = []
    node = operand
    while node.op != "get_attr":
        name = operator_name(node)
        if name not in _REARRANGES | _KEEPS or len(node.all_input_nodes) != 1:
            return None, chain
        if name in _REARRANGES:
            chain.insert(0, node)
        node = node.all_input_nodes[0]
    return node, chain


def _axes(shape: tuple[int, ...], chain: list[Node], use: _Use) -> tuple[int | None, int | None]:
    """Which axes of the weight become the operand's output and input: views keep an axis' stride."""
    weight = torch.empty(shape, device="meta")
    view: Tensor = weight
    for node in chain:
        view = cast(Any, node.target)(view, *node.args[1:], **node.kwargs)
    axes = list(zip(weight.shape, weight.stride(), strict=True))

    def axis(dimension: int) -> int | None:
        found = (view.shape[dimension], view.stride(dimension))
        return axes.index(found) if axes.count(found) == 1 else None

    return axis(use.output), axis(use.input)
