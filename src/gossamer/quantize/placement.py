"""Where quantization goes in a graph, operator by operator: between integer operators, never inside of them.

A *cell* value (docs/kernels.md) comes out of a convolution or of an operator that the integer kernels compute on
bytes; a *byte* value is one whose elements were only moved since. Products take bytes and give sums, which stay
float32 unless integers are wanted of them. So normalizations, softmax, recurrences and what hangs between them (the
residual stream of a transformer) stay float, and a convolutional network has no float in it from end to end.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor
from torch.fx import Node

from gossamer.graph import Graph, Layer, module_of, note, shapes
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments

from .types import Grid

# Layers whose products are computed in integers, with the argument that is the activation.
PRODUCTS = {
    "conv1d": "input",
    "conv2d": "input",
    "linear": "input",
    "mm": "self",
    "matmul": "self",
    "addmm": "mat1",
}
_CONVOLUTIONS = ("conv1d", "conv2d")
# Functions of one element, which a table of 256 bytes computes; the first ones also a product's last step.
CLAMPS = {"relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max"}
MAPS = {
    "sigmoid",
    "hardsigmoid",
    "hardswish",
    "tanh",
    "leaky_relu",
    "elu",
    "gelu",
    "softplus",
    "abs",
    "neg",
    "sqrt",
}
POOLS = {"avg_pool1d", "avg_pool2d"}
MEANS = {"adaptive_avg_pool1d", "adaptive_avg_pool2d", "mean"}
JOINTS = {"add", "mul", "cat"}
# Values pass unchanged: in cells, in cells where they are parted by channels, and only as bytes.
_KEEP_CELLS = {"max_pool1d", "max_pool2d", "constant_pad_nd", "pad"}
_PARTS = {"chunk", "split", "split_with_sizes", "slice", "narrow"}
MOVES = {
    "view",
    "reshape",
    "flatten",
    "squeeze",
    "unsqueeze",
    "transpose",
    "permute",
    "t",
    "expand",
    "slice",
    "narrow",
    "_unsafe_view",
}
_OF_TWO = {"matmul", "bmm"}
# In a file they are not there at all.
ABSENT = {"dropout", "feature_dropout", "contiguous", "clone", "alias", "detach"}

_WHY = {
    **dict.fromkeys(
        ("softmax", "_softmax", "layer_norm", "group_norm", "instance_norm", "rms_norm", "native_layer_norm"),
        "normalizations and softmax are computed in float32",
    ),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "recurrences are computed in float32"),
    **dict.fromkeys(
        ("scaled_dot_product_attention", "bmm", "matmul"),
        "a product of two activations: Quantize(attention=True) takes it",
    ),
    **dict.fromkeys(
        ("baddbmm", "einsum"), "a product of two activations that is not written as matmul or bmm"
    ),
}


@dataclass(frozen=True)
class Place:
    """``value`` becomes integers where ``users`` read it; with the range of ``like``, where that is another value.

    ``grid``: its integers, where they are not those of all activations; ``bounds``: its range, where it is known.
    """

    value: Node
    users: tuple[Node, ...]
    like: Node
    grid: Grid | None = None
    bounds: tuple[float, float] | None = None


def base_name(node: Node) -> str:
    """The operator without overload, in place or not: "relu" for ``aten.relu_.default``."""
    name = operator_name(node)
    return name if name.startswith("_") else name.rstrip("_")


def operand(node: Node) -> Node | None:
    """The activation that an integer product reads; None where ``node`` is no product."""
    argument = PRODUCTS.get(base_name(node))
    found = arguments(node)[argument] if argument else None
    return found if isinstance(found, Node) else None


def place(graph: Graph, quantized: Collection[Layer], attention: bool = False) -> list[Place]:
    """Where activations become integers, so that the products of ``quantized`` are computed in integers.

    ``attention``: those of two activations too. What stays in float is noted with the reason.
    """
    return _Placement(graph, quantized, attention).places()


def cells(graph: Graph, quantized: Collection[Layer]) -> set[Node]:
    """Values between the convolutions of ``quantized`` that integer kernels compute on bytes."""
    return _Placement(graph, quantized, False).cells


class _Placement:
    def __init__(self, graph: Graph, quantized: Collection[Layer], attention: bool) -> None:
        self.nodes = list(graph.graph.nodes)
        self.values = shapes(graph, batch=2)
        self.products: dict[Node, tuple[Node, ...]] = {}  # and the activations that each one multiplies
        for layer in quantized:
            self._take(layer)
        for node in self.nodes if attention else ():
            factors = tuple(node.all_input_nodes)
            if base_name(node) in _OF_TWO and len(factors) == 2 and all(map(self._is_float, factors)):
                self.products[node] = factors
        self.cells: set[Node] = set()
        self.bytes: set[Node] = set()
        self.moved: dict[Node, Node] = {}  # what consists of elements of another value, and of which
        for node in self.nodes:
            self._sort(node)

    def _take(self, layer: Layer) -> None:
        for node in layer.nodes:
            source = operand(node)
            usable = source is not None and self._is_float(source) and not _leads_to(source, layer.weight)
            if source is not None and usable and self._plain_sum(node):
                self.products[node] = (source,)
            elif base_name(node) != "embedding":
                note(
                    layer.weight, f"weights alone are quantized: no integer kernel for this {base_name(node)}"
                )

    def _plain_sum(self, node: Node) -> bool:
        given = arguments(node)
        return base_name(node) != "addmm" or (given["alpha"] == 1 and given["beta"] == 1)

    def _is_float(self, node: Node | None) -> bool:
        """Whether it is an activation: neither a weight nor integers."""
        value = self.values.get(node) if node is not None and node.op != "get_attr" else None
        return isinstance(value, Tensor) and value.is_floating_point()

    # --- what can be computed on bytes -----------------------------------------------------------------------------

    def _sort(self, node: Node) -> None:
        if node.op == "placeholder":
            if self._is_float(node) and self.values[node].ndim in (3, 4):
                self.cells.add(node)
            return
        if node.op != "call_function":
            return
        name, inputs = base_name(node), _tensors(node)
        if node in self.products:
            if name in _CONVOLUTIONS:
                self.cells.add(node)
        elif name in ABSENT:
            for kind in (self.cells, self.bytes):
                kind.update({node} if inputs[0] in kind else ())
        elif inputs and inputs[0] in self.cells and self._on_cells(node, name, inputs):
            self.cells.add(node)
            if name in _KEEP_CELLS | _PARTS or node.target is operator.getitem:
                self.moved[node] = inputs[0]
        elif name in MOVES and inputs and inputs[0] in self.cells | self.bytes:
            kind = self.cells if self._shuffles_channels(node) else self.bytes
            kind.add(node)
            self.moved[node] = inputs[0]

    def _on_cells(self, node: Node, name: str, inputs: list[Node]) -> bool:
        others = [n for n in inputs[1:] if n.op != "get_attr"]
        if name in JOINTS and (others or name == "cat"):
            return all(n in self.cells for n in others) and self._joins(node, name)
        if name in ("add", "mul"):
            return len(inputs) == 1  # with a number: a function of one element
        if name in _KEEP_CELLS:
            return "pad" not in name or _pads_zeros(node)
        if name in _PARTS:
            return self._parts_channels(node, inputs[0])
        if node.target is operator.getitem:
            return True
        if name in MEANS:
            return self._means_all(node, inputs[0])
        return name in CLAMPS | MAPS | POOLS or (name == "batch_norm" and self._follows_convolution(node))

    def _joins(self, node: Node, name: str) -> bool:
        given = arguments(node)
        if name == "cat":
            return bool(given["dim"] % self.values[node].ndim == 1)
        a, b = self.values[given["self"]], self.values[given["other"]]
        return bool(given.get("alpha", 1) == 1 and a.ndim == b.ndim and a.shape[1] == b.shape[1])

    def _parts_channels(self, node: Node, source: Node) -> bool:
        given = arguments(node)
        return bool(given["dim"] % self.values[source].ndim == 1 and given.get("step", 1) == 1)

    def _shuffles_channels(self, node: Node) -> bool:
        """Whether it is the last of view, transpose, view (Zhang et al. 2018, ShuffleNet, section 3.1)."""
        swapped = _present(node.args[0])
        apart = _present(swapped.args[0]) if base_name(swapped) in ("transpose", "permute") else None
        source = _present(apart.args[0]) if apart is not None and apart in self.bytes else None
        if apart is None or source not in self.cells:
            return False
        x, parts = self.values[source].shape, self.values[apart].shape
        groups = (x[0], parts[1], x[1] // parts[1], *x[2:])
        order = (groups[0], groups[2], groups[1], *groups[3:])
        return bool(parts == groups and self.values[swapped].shape == order and self.values[node].shape == x)

    def _means_all(self, node: Node, source: Node) -> bool:
        rank, given = self.values[source].ndim, arguments(node)
        if base_name(node) == "mean":
            axes = given.get("dim") or []
            return sorted(axis % rank for axis in axes) == list(range(2, rank))
        return all(size == 1 for size in self.values[node].shape[2:])

    def _follows_convolution(self, node: Node) -> bool:
        source = node.args[0]
        return isinstance(source, Node) and source in self.products and len(source.users) == 1

    # --- what is wanted in bytes -----------------------------------------------------------------------------------

    @cached_property
    def wanted(self) -> set[Node]:
        """Values that some integer operator reads."""
        found: set[Node] = set()
        for node in reversed(self.nodes):
            if any(self._wants(user, node, found) for user in node.users):
                found.add(node)
        return found

    def _wants(self, user: Node, value: Node, wanted: set[Node]) -> bool:
        if user in self.products:
            return value in self.products[user]
        computes = user in self.cells | self.bytes or base_name(user) in ABSENT
        return user in wanted and computes and (self._is_float(value) or value in self.moved)

    def _is_fused(self, value: Node) -> bool:
        """Whether the only reader, a clamp or a batch norm, becomes part of the operator that makes ``value``."""
        reader = next(iter(value.users)) if len(value.users) == 1 else None
        if reader is None or reader not in self.cells or value.op != "call_function":
            return False
        if base_name(reader) == "batch_norm":
            return True
        return base_name(reader) in CLAMPS and value not in self.moved and base_name(value) not in CLAMPS

    def places(self) -> list[Place]:
        likes: dict[Node, Node] = {}
        found = []
        for value in self.nodes:
            if value not in self.wanted or self._is_fused(value) or base_name(value) in ABSENT:
                continue
            source = _present(self.moved.get(value, value))
            likes[value] = likes.get(source, value)
            if self._is_float(value):
                found.append(value)
        self._share_concatenations(likes)
        self._note_floats()
        return [Place(value, self._users(value), likes[value]) for value in found]

    def _share_concatenations(self, likes: dict[Node, Node]) -> None:
        """What is read by a concatenation alone has its range: it is rounded once, and copied."""
        for node in reversed(self.nodes):
            if base_name(node) != "cat" or node not in likes:
                continue
            for part in _tensors(node):
                if list(part.users) == [node] and likes.get(part) is part:
                    likes[part] = likes[node]

    def _users(self, value: Node) -> tuple[Node, ...]:
        """All, where the value is made by an integer operator; else those that want bytes: the rest has it as it is."""
        integer = value in self.products.keys() | self.cells | self.bytes and value.op != "placeholder"
        users = tuple(value.users)
        return users if integer else tuple(u for u in users if self._wants(u, value, self.wanted))

    def _note_floats(self) -> None:
        left: dict[str, list[str]] = defaultdict(list)
        computed = self.products.keys() | self.cells | self.bytes
        integers = {
            n
            for n in self.nodes
            if self._feeds(n) or (n in computed and (n in self.wanted or n in self.products))
        }
        for node in self.nodes:
            name = base_name(node)
            if node in integers or not self._is_float(node) or name in _SILENT or node.op != "call_function":
                continue
            if any(self._is_float(n) and n.op != "get_attr" for n in _tensors(node)):
                left[name].append(module_of(node) or node.name)
        for name, where in left.items():
            places = ", ".join(dict.fromkeys(where[:3])) + (", ..." if len(where) > 3 else "")
            why = _WHY.get(name, "not between integer operators")
            note(name, f"{len(where)} left in float32: {why} ({places})")

    def _feeds(self, node: Node) -> bool:
        """A clamp or batch norm after a product: it stays with the product, wanted or not."""
        source = node.args[0] if node.op == "call_function" and node.args else None
        return base_name(node) in CLAMPS | {"batch_norm"} and (node in self.cells or source in self.products)


_SILENT = MOVES | _KEEP_CELLS | ABSENT | {"linear", "conv1d", "conv2d", "embedding", "to", "_to_copy"}


def _pads_zeros(node: Node) -> bool:
    given = arguments(node)
    return given.get("mode", "constant") == "constant" and not given["value"]


def _present(value: Any) -> Any:
    """What ``value`` is in a file: before dropout and the like."""
    while isinstance(value, Node) and base_name(value) in ABSENT:
        value = value.args[0]
    return value


def _tensors(node: Node) -> list[Node]:
    """The nodes among the arguments that are no flags or sizes, in order; those in lists too."""
    return [
        n for n in node.all_input_nodes if not str(n.target).endswith(".training") and n.target != "training"
    ]


def _leads_to(node: Node, weight: str) -> bool:
    waiting: list[Any] = [node]
    while waiting:
        at = waiting.pop()
        if at.op == "get_attr":
            return str(at.target) == weight
        if base_name(at) not in MOVES | ABSENT | {"numpy_T", "mT"}:
            return False
        waiting = list(at.all_input_nodes[:1])
    return False
