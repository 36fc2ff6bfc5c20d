"""What a graph costs: parameters, and multiply-accumulates for one example, dense and without zero weights.

A weight element takes part in one multiply-accumulate (MAC) at every position where its layer applies it, so

    dense MACs = elements x positions,    executed MACs = non-zero elements x positions,

padding counted as in the literature. Products of two activations (attention) count in both totals; biases,
normalization, activation functions and pooling count in none.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from gossamer.graph.journal import note
from gossamer.graph.layers import Layer, layers, operator_name
from gossamer.graph.modes import arguments
from gossamer.graph.module import Graph, module_of
from gossamer.graph.shapes import shapes
from gossamer.graph.transform import transformed_weights


@dataclass(frozen=True)
class LayerCost:
    """One layer: MACs for one example, elements of its weight, and those of both that zeros leave."""

    name: str
    weight: str
    macs: int
    executed_macs: int
    parameters: int
    nonzero: int


@dataclass(frozen=True)
class Cost:
    """The whole graph. Totals include products of activations, and biases among the parameters."""

    layers: tuple[LayerCost, ...]
    macs: int
    executed_macs: int
    parameters: int
    nonzero: int


@torch.no_grad()
def cost(graph: Graph) -> Cost:
    """Count. Transforms are applied, so a masked weight is zero; a shared weight is stored once and used
    often.
    """
    values = shapes(graph, batch=1)
    found = layers(graph)
    each = tuple(_layer_cost(graph, layer, values) for layer in found)
    used = {node for layer in found for node in layer.nodes}
    between = sum(_product_macs(n, values) for n in graph.graph.nodes if n not in used)
    kept = [_counts(tensor) for tensor in _shipped(graph).values()]
    return Cost(
        layers=each,
        macs=sum(layer.macs for layer in each) + between,
        executed_macs=sum(layer.executed_macs for layer in each) + between,
        parameters=sum(elements for elements, _ in kept),
        nonzero=sum(nonzero for _, nonzero in kept),
    )


def _layer_cost(graph: Graph, layer: Layer, values: Mapping[Node, Any]) -> LayerCost:
    elements, nonzero = _counts(operator.attrgetter(layer.weight)(graph))
    positions = sum(_positions(layer, node, values) for node in layer.nodes)
    return LayerCost(layer.name, layer.weight, elements * positions, nonzero * positions, elements, nonzero)


def _shipped(graph: Graph) -> dict[str, Tensor]:
    """The user's parameters by name, with their transforms applied."""
    weights = list(transformed_weights(graph))
    plain = {name: p for name, p in graph.named_parameters() if "parametrizations" not in name.split(".")}
    return plain | {weight: operator.attrgetter(weight)(graph) for weight in weights}


def _counts(tensor: Tensor) -> tuple[int, int]:
    return tensor.numel(), tensor.numel() if tensor.is_meta else int(torch.count_nonzero(tensor))


def _positions(layer: Layer, node: Node, values: Mapping[Node, Any]) -> int:
    """How often ``node`` applies every element of the layer's weight to one example."""
    name = operator_name(node)
    inputs = arguments(node)
    if name == "embedding":
        return 0
    if name.startswith("conv_transpose"):
        given = _shape(inputs["input"], values)
        return math.prod(given) // given[1]
    if name.startswith("conv"):
        made = _shape(node, values)
        return math.prod(made) // made[1]
    if name in ("linear", "mm", "matmul", "addmm"):
        return _product_macs(node, values) // math.prod(layer.shape)
    given = _shape(inputs["input"], values)  # recurrent: every element once a step
    return math.prod(given[:-1])


def _product_macs(node: Node, values: Mapping[Node, Any]) -> int:
    """MACs of a matrix product; 0 for nodes that are none."""
    name = operator_name(node)
    first = _FIRST_FACTOR.get(name)
    if first is not None:
        return math.prod(_shape(node, values)) * _shape(arguments(node)[first], values)[-1]
    if name.startswith("conv") and name != "conv_tbc" and "weight" in arguments(node):
        return _computed_convolution(node, values)
    if name == "scaled_dot_product_attention":
        query, key, value = (_shape(arguments(node)[k], values) for k in ("query", "key", "value"))
        return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    if name == "einsum":
        return _einsum_macs(node, values)
    return 0


_FIRST_FACTOR = {
    "linear": "input",
    "mm": "self",
    "bmm": "self",
    "matmul": "self",
    "addmm": "mat1",
    "baddbmm": "batch1",
}


def _computed_convolution(node: Node, values: Mapping[Node, Any]) -> int:
    """A convolution whose weight is not a layer's: it is an activation like any other."""
    weight = _shape(arguments(node)["weight"], values)
    spread = node.args[0] if operator_name(node).startswith("conv_transpose") else node
    shape = _shape(spread, values)
    return math.prod(shape) // shape[1] * math.prod(weight)


def _einsum_macs(node: Node, values: Mapping[Node, Any]) -> int:
    equation, operands = str(node.args[0]), node.args[1]
    assert isinstance(operands, (list, tuple))  # the operator's schema
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2 or "..." in equation:
        note(module_of(node) or node.name, f"MACs of einsum {equation!r} are not counted")
        return 0
    sizes: dict[str, int] = {}
    for letters, operand in zip(terms, operands, strict=True):
        sizes.update(zip(letters, _shape(operand, values), strict=True))
    return math.prod(sizes.values())


def _shape(node: object, values: Mapping[Node, Any]) -> tuple[int, ...]:
    assert isinstance(node, Node)  # tensors are nodes in a graph
    return tuple(values[node].shape)
