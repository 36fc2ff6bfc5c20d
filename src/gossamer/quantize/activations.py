"""Quantizers of activations: nodes that fake-quantize a value, lowered to QuantizeLinear and DequantizeLinear.

A quantizer's numbers are buffers (or a parameter, where the scale learns) of a module ``quantizers.NAME``; the node
reads them by name, so it trains, is copied, stored and exported as all nodes are.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import Node

from gossamer.errors import RecipeError
from gossamer.graph import Graph
from gossamer.numerics import affine
from gossamer.task import device_of

from .types import Grid

HOME = "quantizers"
STATIC = torch.ops.gossamer.fake_quantize.default
DYNAMIC = torch.ops.gossamer.dynamic_quantize.default


class Training(abc.ABC):
    """What becomes of the ranges while the network trains."""

    @abc.abstractmethod
    def add(self, graph: Graph, value: Node, home: str, grid: Grid, bounds: tuple[float, float]) -> Node:
        """The node after ``value`` that quantizes it, its numbers in the module ``home``."""

    @property
    @abc.abstractmethod
    def weights(self) -> str:
        """How FakeQuantize holds the scales of weights."""


@dataclass(frozen=True)
class Fixed(Training):
    """Ranges stay as they were calibrated."""

    weights = "fixed"

    def add(self, graph: Graph, value: Node, home: str, grid: Grid, bounds: tuple[float, float]) -> Node:
        """See :class:`Training`."""
        scale, zero = _numbers(graph, home, grid, bounds)
        return graph.graph.call_function(STATIC, (value, scale, zero, grid.low, grid.high))


@dataclass(frozen=True)
class Tracked(Training):
    """Moving averages of the batches' ranges (Jacob et al. 2018, section 3.1); those of weights follow their extremes.

    ``momentum``: the share of the past in each step. ``delay``: so many batches pass unquantized first, while the
    ranges settle. Under ``torchrun`` all processes have the same ranges at every step.
    """

    momentum: float = 0.99
    delay: int = 0

    weights = "follows"

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1 or self.delay < 0:
            raise RecipeError(f"{self}: give a momentum from 0 up to 1 and a delay of 0 or more batches")

    def add(self, graph: Graph, value: Node, home: str, grid: Grid, bounds: tuple[float, float]) -> Node:
        """See :class:`Training`."""
        numbers = _numbers(graph, home, grid, bounds)
        device = device_of(graph)
        for name, bound in zip(("lower", "upper"), bounds, strict=True):
            numbers.append(keep_tensor(graph, home, name, torch.tensor(bound, device=device)))
        numbers.append(keep_tensor(graph, home, "seen", torch.zeros((), dtype=torch.int64, device=device)))
        training = graph.graph.create_node("get_attr", f"{home}.training")
        settings = (grid.low, grid.high, grid.symmetric, self.momentum, self.delay)
        return graph.graph.call_function(affine.track, (value, *numbers, training, *settings))


@dataclass(frozen=True)
class Learned(Training):
    """Scales are trained with the weights (LSQ, Esser et al. 2020); zero points stay as they were calibrated."""

    weights = "learned"

    def add(self, graph: Graph, value: Node, home: str, grid: Grid, bounds: tuple[float, float]) -> Node:
        """See :class:`Training`."""
        scale, zero = _numbers(graph, home, grid, bounds, learned=True)
        training = graph.graph.create_node("get_attr", f"{home}.training")
        return graph.graph.call_function(affine.learn, (value, scale, zero, training, grid.low, grid.high))


@dataclass(frozen=True)
class Quantizer:
    """A quantizer that is in a graph: its node, the value it quantizes, and where its numbers are."""

    node: Node
    value: Node
    scale: str
    zero_point: str
    low: int
    high: int

    @property
    def bits(self) -> int:
        """Bits of the integers."""
        return (self.high - self.low).bit_length()


# A quantizer's function, and where its arguments low and high are; value, scale and zero point come first.
_KINDS = {STATIC: 3, affine.track: 7, affine.learn: 4}


def is_quantizers(name: str) -> bool:
    """Whether the tensor called ``name`` is a number of a quantizer."""
    return name.startswith(f"{HOME}.")


def quantizers(graph: Graph) -> Iterator[Quantizer]:
    """Those in ``graph`` whose range is known, in order of execution."""
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in _KINDS:
            value, scale, zero = node.args[:3]
            low, high = node.args[_KINDS[node.target] :][:2]
            yield Quantizer(node, value, str(scale.target), str(zero.target), low, high)


def insert(
    graph: Graph,
    value: Node,
    users: tuple[Node, ...],
    grid: Grid,
    bounds: tuple[float, float],
    training: Training,
) -> Node:
    """Quantize ``value``, of this range, where ``users`` read it; the new node. Recompile ``graph`` afterwards."""
    held = graph.get_submodule(HOME)._modules if HOME in graph._modules else {}
    home = f"{HOME}.{value.name}"
    while home.rpartition(".")[2] in held:
        home += "_wide"  # the same value in more bits, for others
    return _inserted(graph, value, users, lambda: training.add(graph, value, home, grid, bounds))


def insert_like(graph: Graph, value: Node, users: tuple[Node, ...], model: Node) -> Node:
    """As :func:`insert`, with the numbers of the quantizer ``model``, which alone changes them."""
    found = next(q for q in quantizers(graph) if q.node is model)

    def make() -> Node:
        numbers = [graph.graph.get_attr(name) for name in (found.scale, found.zero_point)]
        return graph.graph.call_function(STATIC, (value, *numbers, found.low, found.high))

    return _inserted(graph, value, users, make)


def insert_dynamic(graph: Graph, value: Node, users: tuple[Node, ...]) -> Node:
    """Quantize ``value`` over the range that it has while running."""
    return _inserted(graph, value, users, lambda: graph.graph.call_function(DYNAMIC, (value, 0, 255)))


def _inserted(graph: Graph, value: Node, users: tuple[Node, ...], make: Callable[[], Node]) -> Node:
    """The node that ``make`` makes, behind ``value`` and in its place for ``users``."""
    behind = value.next
    while behind.op == "placeholder":
        behind = behind.next
    with graph.graph.inserting_before(behind):
        node = make()
    for new in (node, *node.all_input_nodes):
        new.meta = new.meta or {
            "module": value.meta.get("module", ""),
            "stack_trace": value.meta.get("stack_trace", ""),
        }
    for user in users:
        user.replace_input_with(value, node)
    return node


def _numbers(
    graph: Graph, home: str, grid: Grid, bounds: tuple[float, float], learned: bool = False
) -> list[Node]:
    """The nodes that read scale and zero point for ``bounds``, held in the module ``home``."""
    lower, upper = torch.tensor(bounds, device=device_of(graph)).float()
    scale, zero = affine.parameters(lower, upper, grid.low, grid.high, grid.symmetric)
    held = nn.Parameter(scale) if learned else scale
    return [keep_tensor(graph, home, "scale", held), keep_tensor(graph, home, "zero_point", zero)]


def keep_tensor(graph: Graph, home: str, name: str, tensor: Tensor) -> Node:
    """Keep ``tensor`` as ``home.name``; the node that reads it."""
    owner: nn.Module = graph
    for part in home.split("."):
        if part not in owner._modules:
            owner.add_module(part, nn.Module().train(graph.training))
        owner = owner.get_submodule(part)
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(name, tensor)
    else:
        owner.register_buffer(name, tensor)
    return graph.graph.get_attr(f"{home}.{name}")
