"""Pieces of a graph that one tensor enters and one leaves: single layers, or blocks with their residual connections."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor
from torch.fx import Node

from gossamer.graph import Graph

from .placement import CLAMPS, base_name
from .run import QuantizedLayer, Run, correctable, quantized_layers, source


@dataclass(frozen=True)
class Segment:
    """``nodes`` compute the value of ``end`` from that of ``start`` and from weights alone."""

    start: Node
    end: Node
    nodes: tuple[Node, ...]
    layers: tuple[QuantizedLayer, ...]

    def run(self, graph: Graph, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The value of ``end`` where ``start`` is ``x``, with other ``weights``, by name."""
        run = Run(graph, weights)
        run.env[self.start] = x
        for node in self.nodes:
            for read in node.all_input_nodes:
                if read not in run.env:
                    run.env[read] = run.run_node(read)
            run.env[node] = run.run_node(node)
        result: Tensor = run.env[self.end]
        return result


def layer_segments(graph: Graph) -> list[Segment]:
    """Each quantized layer with the batch norm and the clamp behind it."""
    found = []
    for layer in correctable(graph):
        nodes = _with_activation(layer.layer.node)
        found.append(Segment(source(layer), nodes[-1], nodes, (layer,)))
    return found


def block_segments(graph: Graph) -> list[Segment]:
    """The graph cut wherever a single tensor passes: a residual block is one piece, layers in a row are one each."""
    every = quantized_layers(graph)
    nodes = [node for node in graph.graph.nodes if node.op in ("call_function", "placeholder")]
    place = {node: number for number, node in enumerate(nodes)}
    cuts = [place[node] for node in _cuts(nodes)]
    found: list[Segment] = []
    for start, end in pairwise(cuts):
        inside = nodes[start + 1 : end + 1]
        held = tuple(layer for layer in every if any(node in inside for node in layer.layer.nodes))
        if held:
            tail = _with_activation(nodes[end])[1:]
            found.append(Segment(nodes[start], [nodes[end], *tail][-1], (*inside, *tail), held))
    return found


def _with_activation(node: Node) -> tuple[Node, ...]:
    chain = [node]
    while len(chain[-1].users) == 1:
        reader = next(iter(chain[-1].users))
        if base_name(reader) not in CLAMPS | {"batch_norm"}:
            break
        chain.append(reader)
    return tuple(chain)


def _cuts(nodes: list[Node]) -> list[Node]:
    """Nodes that give one tensor, behind which nothing reads what stands before them."""
    place = {node: number for number, node in enumerate(nodes)}
    found, reach = [], -1
    for number, node in enumerate(nodes):
        if reach <= number and all(user.target is not operator.getitem for user in node.users):
            found.append(node)
        reach = max(reach, max((place.get(user, len(nodes)) for user in node.users), default=-1))
    return found
