"""Which channel ids every dimension of every tensor in a graph carries, operator by operator.

A weight's axis gets an id for every index; each operator says how the dimensions of its result follow from those
of what it was given, and which of them must agree. What an operator cannot follow it pins, with its own name as
the reason, and the rest goes on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from gossamer.graph.channels.flow import BATCH, Flow, Label
from gossamer.graph.channels.ids import Dim, fixed
from gossamer.graph.channels.rules import rule_of
from gossamer.graph.modes import arguments
from gossamer.graph.module import Graph
from gossamer.graph.shapes import shapes
from gossamer.graph.transform import original


def follow(graph: Graph) -> Flow:
    """Walk through ``graph``; it is not changed."""
    flow = Flow(graph, shapes(graph, BATCH))
    for node in graph.graph.nodes:
        flow.node, flow.ids.where = node, str(node.target)
        if node.op == "call_function":
            flow.ids.where = flow.here
        if node.op == "placeholder":
            flow.labels[node] = _outside(flow, node)
        elif node.op == "get_attr":
            flow.labels[node] = _weight(flow, str(node.target))
        elif node.op == "output":
            for result in node.all_input_nodes:
                for dim in flow.label(result):
                    flow.ids.pin(dim.ids, "output of the network")
        else:
            flow.labels[node] = _result(flow, node, rule_of(node))
    return flow


def _outside(flow: Flow, node: Node) -> Label:
    return tuple(fixed(size, f"input {str(node.target)!r}") for size in flow.shape(node))


def _weight(flow: Flow, name: str) -> Label | None:
    """The axes of a parameter or buffer: the same ones wherever it is used."""
    if name.rpartition(".")[2] == "training":
        return None
    name = flow.graph.tied.get(name, name)
    if name not in flow.axes:
        shape = original(flow.graph, name).shape
        flow.axes[name] = tuple(
            fixed(size, name) if size <= 1 else Dim(flow.ids.fresh(size)) for size in shape
        )
    return flow.axes[name]


def _result(flow: Flow, node: Node, rule: Any) -> Any:
    value = flow.values.get(node)
    if not _has_tensor(value):
        return None
    known = arguments(node) if isinstance(node.target, torch._ops.OpOverload) else {}
    try:
        found = rule(flow, node, known)
    except (
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:  # a form that the rule does not know
        flow.lost[node.name] = f"{type(error).__name__}: {error}"
        found = None
    if found is None or not _fits(found, value):
        flow.refuse()
        return (
            [_unknown(flow, v) for v in value] if isinstance(value, (tuple, list)) else _unknown(flow, value)
        )
    return found


def _fits(found: Any, value: Any) -> bool:
    """Whether the labels have the sizes of the tensors."""
    if isinstance(value, Tensor):
        return isinstance(found, tuple) and [dim.size for dim in found] == [int(size) for size in value.shape]
    return isinstance(found, list) and all(
        not isinstance(v, Tensor) or _fits(each, v) for each, v in zip(found, value, strict=True)
    )


def _unknown(flow: Flow, value: Any) -> Label | None:
    if not isinstance(value, Tensor):
        return None
    return tuple(flow.stuck(int(size)) for size in value.shape)


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, (tuple, list)) and any(isinstance(v, Tensor) for v in value)
    )
