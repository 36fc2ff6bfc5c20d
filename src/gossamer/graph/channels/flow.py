"""Which channel ids every dimension of every tensor in a graph carries, operator by operator.

A weight's axis gets an id for every index; each operator says how the dimensions of its result follow from those
of what it was given, and which of them must agree. What an operator cannot follow it pins, with its own name as
the reason, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from gossamer.graph.channels.ids import Array, Dim, Ids, fixed
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments
from gossamer.graph.module import Graph, module_of
from gossamer.graph.shapes import shapes
from gossamer.graph.transform import original

Label = tuple[Dim, ...]
BATCH = 2  # any size but 1, which broadcasts


@dataclass(eq=False)
class Flow:
    """What is known while walking through the graph.

    ``values``: fake tensors and numbers by node, for a batch of two; ``labels``: for every tensor its dimensions,
    for every node that gives several a list; ``axes``: the dimensions of every parameter and buffer by name;
    ``heads``: ids along which products of activations run side by side; ``parts``: where a dimension was cut;
    ``lost``: operators in a form that their rule does not know, and why.
    """

    graph: Graph
    values: dict[Node, Any]
    ids: Ids = field(default_factory=Ids)
    labels: dict[Node, Any] = field(default_factory=dict)
    axes: dict[str, Label] = field(default_factory=dict)
    heads: list[Array] = field(default_factory=list)
    parts: list[Array] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    node: Node = None  # type: ignore[assignment]  # the operator whose turn it is

    @property
    def here(self) -> str:
        """The operator whose turn it is, in words: "conv2d (layer1.0.conv1)"."""
        place = module_of(self.node)
        return operator_name(self.node) + (f" ({place})" if place else "")

    def label(self, argument: Any) -> Label:
        """The dimensions of an operator's argument; of a number, none."""
        found = self.labels.get(argument) if isinstance(argument, Node) else None
        return found if isinstance(found, tuple) else ()

    def value(self, argument: Any) -> Any:
        """An argument with every node in it replaced by its fake tensor or number."""
        return torch.fx.node.map_aggregate(
            argument, lambda a: self.values.get(a, a) if isinstance(a, Node) else a
        )

    def shape(self, argument: Node) -> tuple[int, ...]:
        """The shape of a tensor, for a batch of two."""
        return tuple(int(size) for size in self.values[argument].shape)

    def fresh(self, size: int) -> Dim:
        """A dimension of new ids; one of a single index is there to be broadcast, and stays."""
        return fixed(size, self.here) if size <= 1 else Dim(self.ids.fresh(size))

    def stuck(self, size: int, what: str = "") -> Dim:
        """A dimension without ids that this operator made."""
        return fixed(size, f"{what} {self.here}".strip())

    def pin(self, dim: Dim, why: str = "") -> None:
        """Keep every index of ``dim``, because of this operator."""
        self.ids.pin(dim.ids, f"{why} {self.here}".strip())

    def tie(self, first: Dim, second: Dim) -> None:
        """This operator needs the same indices of both."""
        self.ids.tie(first, second, self.here)

    def weight(self, argument: Any, *dims: Dim) -> None:
        """Tie the leading axes of an optional argument to ``dims``."""
        for own, dim in zip(self.label(argument), dims, strict=False):
            self.tie(own, dim)

    def split(self, dim: Dim, sizes: Sequence[int]) -> list[Dim]:
        """``dim`` as the row-major product of dimensions of ``sizes``."""
        from gossamer.graph.channels.movement import moved

        return list(moved(self, (dim,), lambda x: x.reshape(*sizes)))

    def refuse(self) -> None:
        """Pin all dimensions of all arguments: this operator is not known."""
        for argument in self.node.all_input_nodes:
            labels = self.labels.get(argument)
            for label in labels if isinstance(labels, list) else [labels]:
                for dim in label or ():
                    self.pin(dim)


def follow(graph: Graph) -> Flow:
    """Walk through ``graph``; it is not changed."""
    from gossamer.graph.channels.rules import rule_of

    flow = Flow(graph, shapes(graph, BATCH))
    for node in graph.graph.nodes:
        flow.node = node
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
