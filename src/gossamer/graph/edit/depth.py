"""Depth: residual blocks, found by their addition, and removed by leaving the shortcut alone.

A block is everything between a tensor s and an addition s + f(s) that is used nowhere else. Without it the sum is s:
what remains of "Deep Networks with Stochastic Depth" (Huang et al. 2016) when a block never survives.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import takewhile

import torch
from torch.fx import Node
from torch.nn.utils import parametrize

from gossamer.graph.layers import layers, operator_name
from gossamer.graph.modes import arguments, count_batch
from gossamer.graph.module import Graph
from gossamer.graph.shapes import shapes
from gossamer.graph.transform import owner_of


@dataclass(frozen=True, eq=False)
class ResidualBlock:
    """A block by the path that its modules share ("encoder.layer.0.attention"); ``weights``: those only it uses."""

    name: str
    weights: tuple[str, ...]
    sum: Node = field(repr=False)
    shortcut: Node = field(repr=False)
    inside: frozenset[Node] = field(repr=False)


def residual_blocks(graph: Graph) -> list[ResidualBlock]:
    """All blocks with weights of their own, in order; one may lie within another."""
    values = shapes(graph, 2)
    found = layers(graph)
    blocks: list[ResidualBlock] = []
    for node in graph.graph.nodes:
        if operator_name(node) not in ("add", "add_") or len(node.all_input_nodes) != 2:
            continue
        first, second = node.args[0], node.args[1]
        known = arguments(node)
        pairs = [(first, second)] + ([(second, first)] if known.get("alpha", 1) == 1 else [])
        for shortcut, branch in pairs:
            same = getattr(values.get(shortcut), "shape", None) == getattr(values.get(node), "shape", ())
            inside = _between(shortcut, branch, node) if same else None
            if inside:
                weights = tuple(
                    layer.weight for layer in found if all(used in inside for used in layer.nodes)
                )
                if weights:
                    name = _name(weights, [block.name for block in blocks])
                    blocks.append(ResidualBlock(name, weights, node, shortcut, frozenset(inside)))
                break
    return blocks


def _between(start: Node, end: Node, total: Node) -> set[Node] | None:
    """The nodes from ``start`` (not included) to ``end``; None unless they are used for ``total`` alone."""
    below: set[Node] = set()
    waiting = [user for user in start.users if user is not total]
    while waiting:
        node = waiting.pop()
        if node not in below and node is not total and node.op == "call_function":
            below.add(node)
            waiting.extend(user for user in node.users if user is not total)
    above: set[Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node in below and node not in above:
            above.add(node)
            waiting.extend(node.all_input_nodes)
    used_elsewhere = any(user not in above and user is not total for node in above for user in node.users)
    changes_start = any(_writes(node) and node.args[0] is start for node in above)
    return above if end in above and not used_elsewhere and not changes_start else None


def _writes(node: Node) -> bool:
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def _name(weights: tuple[str, ...], taken: list[str]) -> str:
    """The path that all weights share, numbered where that is taken."""
    levels = zip(*(weight.split(".")[:-1] for weight in weights), strict=False)
    name = ".".join(_common(levels)) or weights[0].removesuffix(".weight")
    several = sum(other == name or other.startswith(f"{name} (") for other in taken)
    return f"{name} ({several + 1})" if several else name


def _common(levels: Iterable[tuple[str, ...]]) -> list[str]:
    """The leading levels on which all agree."""
    return [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]


def remove_blocks(graph: Graph, blocks: Collection[ResidualBlock]) -> Graph:
    """A copy of ``graph`` without ``blocks``, which :func:`residual_blocks` found in it, and without their weights."""
    new = copy.deepcopy(graph)
    now = dict(zip(graph.graph.nodes, new.graph.nodes, strict=True))
    for block in blocks:
        now[block.sum].replace_all_uses_with(now[block.shortcut])
    gone = {now[node] for block in blocks for node in (block.sum, *block.inside)}
    for node in reversed(list(new.graph.nodes)):
        if node in gone and not node.users:
            new.graph.erase_node(node)
    _drop_counters(new.graph)
    _drop_unused(new, {str(node.target) for node in graph.graph.find_nodes(op="get_attr")})
    new.graph.lint()
    new.recompile()
    return new


def _drop_counters(graph: torch.fx.Graph) -> None:
    """Counters of batch norms that are gone count no more."""
    read = {str(node.target) for node in graph.find_nodes(op="get_attr") if node.users}
    for node in graph.find_nodes(op="call_function", target=count_batch):
        path = str(node.args[0].target).rpartition(".")[0]
        if f"{path}.running_mean".lstrip(".") not in read:
            graph.erase_node(node)


def _drop_unused(graph: Graph, before: set[str]) -> None:
    """Reads of weights that nothing uses, and the weights."""
    for node in graph.graph.find_nodes(op="get_attr"):
        if not node.users:
            graph.graph.erase_node(node)
    read = {str(node.target) for node in graph.graph.find_nodes(op="get_attr")}
    for name in before - read:
        if name.rpartition(".")[2] == "training":
            continue
        owner, last = owner_of(graph, name)
        if parametrize.is_parametrized(owner, last):
            parametrize.remove_parametrizations(owner, last, leave_parametrized=False)
        delattr(owner, last)
        for other, first in list(graph.tied.items()):
            if first == name:
                holder, other_last = _holder(graph, other)
                holder._parameters.pop(other_last, None)
                holder._buffers.pop(other_last, None)
                del graph.tied[other]


def _holder(graph: Graph, name: str) -> tuple[torch.nn.Module, str]:
    path, _, last = name.rpartition(".")
    return graph.get_submodule(path), last
