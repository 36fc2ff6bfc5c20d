"""The written specification of a graph. It holds before and after every pass.

1. Nodes are placeholders, get_attr, call_function and one output, in topological order. Functions are torch
   operators or of the few that :mod:`gossamer.graph.serialize` can name.
2. Placeholders are the tensors of ``graph.signature``, in its order.
3. Every get_attr finds a parameter, a buffer or a module's ``training`` flag.
4. Parameters are finite. Transforms keep a weight's shape and dtype, and give finite values.
5. The graph runs, at two batch sizes.
"""

from __future__ import annotations

import operator

import torch
import torch.fx
from torch import Tensor
from torch.fx import Node

from gossamer.errors import GraphError
from gossamer.graph.module import Graph, is_finite, source_line
from gossamer.graph.serialize import function_name
from gossamer.graph.shapes import shapes
from gossamer.graph.transform import original, transformed_weights


def check(graph: Graph) -> None:
    """Raise GraphError, naming the node or the weight and the repair, unless ``graph`` meets the
    specification.
    """
    _check_nodes(graph)
    _check_weights(graph)
    for batch in (2, 3):
        shapes(graph, batch)


def _check_nodes(graph: Graph) -> None:
    seen: set[Node] = set()
    for node in graph.graph.nodes:
        late = [n.name for n in node.all_input_nodes if n not in seen]
        if late:
            raise _broken(node, f"uses {late[0]!r}, which comes later", "insert it before its users")
        seen.add(node)
        if node.op == "call_function":
            function_name(node)
        elif node.op == "get_attr":
            _check_attribute(graph, node)
        elif node.op not in ("placeholder", "output"):
            raise _broken(node, f"is a {node.op}", "call a torch operator instead")
    names = [str(node.target) for node in graph.graph.find_nodes(op="placeholder")]
    if len(names) != len(graph.signature):
        raise GraphError(f"the graph takes {names}, but its signature is {[i.name for i in graph.signature]}")


def _check_attribute(graph: Graph, node: Node) -> None:
    try:
        value = operator.attrgetter(str(node.target))(graph)
    except AttributeError as error:
        raise _broken(
            node, f"reads {node.target!r}, which is not there", "erase the node with the weight"
        ) from error
    if not isinstance(value, (Tensor, bool)):
        raise _broken(
            node, f"reads {node.target!r}, a {type(value).__name__}", "read a tensor or a training flag"
        )


def _check_weights(graph: Graph) -> None:
    for name, parameter in graph.named_parameters():
        if not is_finite(parameter):
            raise GraphError(f"weight {name!r} has NaN or infinite values: lower the learning rate")
    for weight in transformed_weights(graph):
        before = original(graph, weight)
        with torch.no_grad():
            after: Tensor = operator.attrgetter(weight)(graph)
        if (after.shape, after.dtype) != (before.shape, before.dtype):
            raise GraphError(
                f"the transforms of {weight!r} make {before.dtype} {tuple(before.shape)} into {after.dtype} "
                f"{tuple(after.shape)}: a transform keeps shape and dtype"
            )
        if not is_finite(after):
            raise GraphError(
                f"the transforms of {weight!r} give NaN or infinite values: check their parameters"
            )


def _broken(node: Node, what: str, repair: str) -> GraphError:
    line = source_line(node)
    return GraphError(f"node {node.name!r} {what}: {repair}" + (f"\n  {line}" if line else ""))
