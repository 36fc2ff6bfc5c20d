"""What is known while walking through a graph: the dimensions of every tensor, and what operators say of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

from gossamer.graph.channels.ids import Array, Dim, Ids, fixed
from gossamer.graph.layers import operator_name
from gossamer.graph.module import Graph, module_of

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
        """Tie the leading axes of an optional argument to ``dims``; one number for all of them goes with any."""
        for own, dim in zip(self.label(argument), dims, strict=False):
            if own.size == dim.size:
                self.tie(own, dim)

    def refuse(self) -> None:
        """Pin all dimensions of all arguments: this operator is not known."""
        for argument in self.node.all_input_nodes:
            labels = self.labels.get(argument)
            for label in labels if isinstance(labels, list) else [labels]:
                for dim in label or ():
                    self.pin(dim)
