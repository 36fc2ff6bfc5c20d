"""The signs of a layer's input in place of it (XNOR-Net's binary activations), as nodes of the graph.

In ONNX: Where(GreaterOrEqual(x, 0), 1, -1), which every runtime runs; the Engine makes bits of it.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch.fx import Node

from gossamer.graph import Graph, layers, note
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments
from gossamer.numerics import signs  # noqa: F401 (defines the operator)

BINARIZE = torch.ops.gossamer.binarize.default

# Operators whose products can be counts of bits, and the argument that is the activation.
_PRODUCTS = {
    "linear": "input",
    "conv1d": "input",
    "conv2d": "input",
    "mm": "self",
    "matmul": "self",
    "addmm": "mat1",
}
_NOT_NEGATIVE = {"relu", "relu_", "relu6", "sigmoid", "hardsigmoid"}
# What the largest of, or what stays at its value: signs of the result are the result of signs.
_KEEPS = {
    "max_pool1d",
    "max_pool2d",
    "view",
    "reshape",
    "flatten",
    "squeeze",
    "unsqueeze",
    "dropout",
    "contiguous",
    "clone",
}


def binarize_inputs(graph: Graph, weights: Collection[str]) -> None:
    """Put signs in front of the products of ``weights``. Mutates ``graph``.

    What stays in float is noted: inputs of the network, and products with more than a constant weight.
    """
    for layer in layers(graph):
        if layer.weight not in weights:
            continue
        for node in layer.nodes:
            argument = _PRODUCTS.get(operator_name(node))
            value = arguments(node)[argument] if argument else None
            if not isinstance(value, Node) or value.op == "get_attr":
                note(layer.weight, f"its input stays in float: {layer.kind} has no kernel for bits")
            elif _begins_at_input(value):
                note(layer.weight, "its input stays in float: it is the network's")
            elif value.target is not BINARIZE:
                _insert(graph, value, node)
    graph.graph.lint()
    graph.recompile()


def _begins_at_input(value: Node) -> bool:
    return _behind_moves(value).op == "placeholder"


def _behind_moves(value: Node) -> Node:
    while operator_name(value) in _KEEPS:
        value = value.all_input_nodes[0]
    return value


def _insert(graph: Graph, value: Node, product: Node) -> None:
    source = _behind_moves(value)
    signed = _past(source, value, product) if operator_name(source) in _NOT_NEGATIVE else value
    made = next((user for user in signed.users if user.target is BINARIZE), None)
    if made is None:
        with graph.graph.inserting_after(signed):
            made = graph.graph.call_function(BINARIZE, (signed,))
        made.meta = {key: value.meta.get(key, "") for key in ("module", "stack_trace")}
    product.replace_input_with(value, made)
    if not source.users and source is not signed:
        graph.graph.erase_node(source)


def _past(clamp: Node, value: Node, product: Node) -> Node:
    """``value`` without ``clamp``, a function whose results have no signs, for ``product`` alone."""
    way = [value]
    while way[-1] is not clamp:
        way.append(way[-1].all_input_nodes[0])
    if any(len(node.users) > 1 for node in way[:-1]):
        note(
            product.name, f"the signs of its input are all positive: it is {clamp.name}, moved for others too"
        )
        return value
    note(product.name, f"{clamp.name} in front of it is left out: the signs of its results are all positive")
    before = clamp.all_input_nodes[0]
    if value is clamp:
        return before
    way[-2].replace_input_with(clamp, before)
    return value
