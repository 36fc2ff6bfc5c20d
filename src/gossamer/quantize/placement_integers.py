"""Where quantization goes when nothing may stay in float: behind every operator that makes new numbers.

Each value is quantized to 8 bits where a product, a pool or a function of one element reads it, and to 16 bits (held in
int32) where a residual sum, a softmax or a normalization does (Kim et al. 2021, I-BERT, section 3). What moves elements
hands the integers on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from functools import cached_property

from torch import Tensor
from torch.fx import Node

from gossamer.errors import UnsupportedError
from gossamer.graph import Graph, Layer, module_of, shapes

from .placement import (
    ABSENT,
    CLAMPS,
    JOINTS,
    MAPS,
    MEANS,
    MOVES,
    POOLS,
    PRODUCTS,
    Place,
    base_name,
    cells,
)
from .types import Grid

_WIDE = Grid(-(2**15), 2**15 - 1, symmetric=True)
_PROBABILITIES = Grid(0, 255, symmetric=False), (0.0, 255 / 256)  # what an integer softmax gives

_OF_TWO = {"matmul", "bmm"}
_TABLES = MAPS | {"silu", "mish", "exp", "log", "erf", "selu", "celu", "pow", "rsqrt", "reciprocal", "square", "sin",
                  "cos", "hardshrink", "softshrink", "softsign", "logsigmoid", "prelu", "sign"}  # fmt: skip
_MAXIMA = {"max_pool1d", "max_pool2d"}
_SOFTMAX = {"softmax", "_softmax"}
_NORMS = {"layer_norm"}
_HANDS_ON = (
    MOVES
    | ABSENT
    | _MAXIMA
    | {
        "select",
        "chunk",
        "split",
        "split_with_sizes",
        "unbind",
        "narrow",
        "unflatten",
        "constant_pad_nd",
        "pad",
    }
    | {"pixel_shuffle", "pixel_unshuffle", "index_select", "masked_fill", "where", "movedim", "repeat", "mT"}
    | {"channel_shuffle", "view_as", "reshape_as", "expand_as", "alias", "lift_fresh_copy", "to", "_to_copy"}
)
_SUMS = JOINTS | {"sub", "div", "rsub"}


class _Need(Enum):
    BYTES = 8
    WIDE = 16


def place_all(graph: Graph, quantized: Collection[Layer]) -> list[Place]:
    """Where activations become integers, so that nothing stays in float.

    Raises UnsupportedError with every layer and operator for which there is no integer form.
    """
    found = _Everywhere(graph, quantized)
    found.require_forms()
    places = list(found.places())
    found.require_activations(place.value for place in places)
    return places


class _Everywhere:
    def __init__(self, graph: Graph, quantized: Collection[Layer]) -> None:
        self.nodes = [node for node in graph.graph.nodes if node.users or node.op == "output"]
        self.values = shapes(graph, batch=2)
        self.layers = {node: layer for layer in quantized for node in layer.nodes}
        self.cells = cells(graph, quantized)

    # --- what there is no form for ------------------------------------------------------------

    def require_forms(self) -> None:
        """Raise UnsupportedError where an operator has no integer form."""
        wrong = [f"{base_name(node) or node.target} of {module_of(node) or node.name}: {why}" for node in self.nodes
                 if (why := self._why_not(node))]  # fmt: skip
        if wrong:
            more = f"; and {len(wrong) - 6} more" if len(wrong) > 6 else ""
            raise UnsupportedError(f"Quantize(integer_only=True): {'; '.join(wrong[:6])}{more}")

    def require_activations(self, values: Iterable[Node]) -> None:
        """Raise UnsupportedError where integers were made floats that are to be quantized again."""
        wrong = [f"{base_name(value)} of {module_of(value) or value.name}" for value in values
                 if value.op == "call_function" and base_name(value) != "embedding" and value.all_input_nodes
                 and not any(map(self._makes_float, value.all_input_nodes))]  # fmt: skip
        if wrong:
            raise UnsupportedError(
                f"Quantize(integer_only=True): {', '.join(dict.fromkeys(wrong))}: floats that the network makes of "
                "integers (positions, say) have no integer form; keep them as a buffer"
            )

    def _why_not(self, node: Node) -> str:
        if node.op != "call_function" or not self._makes_float(node) or not self._float_inputs(node):
            return ""
        name = base_name(node)
        if name in PRODUCTS or name in _OF_TWO or name == "embedding":
            return self._no_product(node, name)
        if name in _SUMS and name in ("div", "rsub") and len(self._float_inputs(node)) > 1:
            return "a quotient of two values has no integer form"
        if name in ("mul", "div") and (shape := self._mixed_factors(node)):
            return f"a constant of shape {shape} has no integer form: one factor, or one for each channel, is due"
        if name in MEANS and name.startswith("adaptive") and any(s != 1 for s in self.values[node].shape[2:]):
            return "adaptive pooling to more than one element has no integer form"
        known = (
            _TABLES | CLAMPS | POOLS | MEANS | _SOFTMAX | _NORMS | _HANDS_ON | _SUMS | {"gelu", "batch_norm"}
        )
        return "" if name in known or not name else "no integer form"

    def _mixed_factors(self, node: Node) -> tuple[int, ...]:
        """The shape of a constant factor that differs along more than one dimension; else empty."""
        shapes = [tuple(self.values[n].shape) for n in node.all_input_nodes if n in self._constant]
        return next((shape for shape in shapes if sum(size > 1 for size in shape) > 1), ())

    def _no_product(self, node: Node, name: str) -> str:
        if node in self.layers:
            return ""
        constant = any(n.op == "get_attr" for n in node.all_input_nodes)
        if name in _OF_TWO and not constant and len(self._float_inputs(node)) == 2:
            return ""
        return "its weight is not quantized, and nothing may stay in float"

    # --- who reads what ------------------------------------------------------------

    def _is_float(self, node: Node) -> bool:
        value = self.values.get(node)
        return isinstance(value, Tensor) and value.is_floating_point()

    def _makes_float(self, node: Node) -> bool:
        value = self.values.get(node)
        parts = value if isinstance(value, list | tuple) else [value]
        return any(isinstance(part, Tensor) and part.is_floating_point() for part in parts)

    @cached_property
    def _constant(self) -> set[Node]:
        """Values made of weights alone."""
        found: set[Node] = set()
        for node in self.nodes:
            inputs = node.all_input_nodes
            if node.op == "get_attr" or (
                inputs and all(n in found for n in inputs) and base_name(node) != "embedding"
            ):
                found.add(node)
        return found

    def _float_inputs(self, node: Node) -> list[Node]:
        tensors = [n for n in node.all_input_nodes if n not in self._constant and self._makes_float(n)]
        return [*tensors, *([node] if base_name(node) == "embedding" else [])]

    def _is_sum(self, node: Node) -> bool:
        """Whether it is int32 sums, finer than any quantization."""
        return (node in self.layers and base_name(node) in PRODUCTS) or (
            base_name(node) in _OF_TWO and node in self._products
        )

    @cached_property
    def _products(self) -> set[Node]:
        return {
            n
            for n in self.nodes
            if base_name(n) in _OF_TWO and n not in self.layers and n not in self._constant
        }

    def _needs(self, value: Node, user: Node) -> set[_Need]:
        """How ``user`` wants ``value``: nothing where it takes it as it is."""
        name = base_name(user)
        if user.op == "output":
            return set() if self._is_sum(value) or base_name(value) in _SOFTMAX else {_Need.WIDE}
        if (
            user in self.layers
            or user in self._products
            or name in _TABLES | POOLS | MEANS | {"gelu", "batch_norm"}
        ):
            return {_Need.BYTES} if user.op != "call_function" or value in self._float_inputs(user) else set()
        if name in _SOFTMAX | _NORMS:
            return {_Need.WIDE}
        if name in _MAXIMA:
            return {_Need.BYTES}
        if name in _SUMS - {"cat"} and not self._scales(user):
            return {_Need.BYTES if user in self.cells else _Need.WIDE}
        if name in _HANDS_ON | CLAMPS | _SUMS or (user.op == "call_function" and not name):
            return self._wanted(user) if self._makes_float(user) else set()
        return set()

    def _scales(self, node: Node) -> bool:
        """A product with a number: the same integers with another scale."""
        return base_name(node) in ("mul", "div") and len(node.all_input_nodes) == 1

    def _wanted(self, value: Node) -> set[_Need]:
        found: set[_Need] = set()
        for user in value.users:
            found |= self._needs(value, user)
        return found

    def _becomes_part(self, value: Node) -> bool:
        """Whether the only reader, a clamp or a batch norm, is part of the operator that makes ``value``."""
        reader = next(iter(value.users)) if len(value.users) == 1 else None
        if reader is None or value.op != "call_function":
            return False
        if base_name(reader) == "batch_norm":
            return value in self.layers
        makes_sums = value in self.layers or base_name(value) in (_SUMS - {"cat"}) | {"batch_norm"}
        return base_name(reader) in CLAMPS and makes_sums

    # --- the places ------------------------------------------------------------

    def places(self) -> Iterator[Place]:
        """Every place, in order of execution."""
        bits: dict[Node, int] = {}  # of a value that is integers before anything quantizes it; 0: it is none
        for value in self.nodes:
            if value.op == "output" or value in self._constant or not self._makes_float(value):
                continue
            bits[value] = self._given(value, bits)
            if value.op == "placeholder":
                bits[value] = 8
                users = tuple(user for user in value.users if self._width(value, user))
                yield from [Place(value, users, value)] if users else ()
            elif self._is_float(value) and not (self._becomes_part(value) and not bits[value]):
                yield from self._of(value, bits[value])

    def _given(self, value: Node, bits: dict[Node, int]) -> int:
        """How many bits ``value`` has of its own: because it is handed on, or made of integers."""
        name, sources = base_name(value), self._float_inputs(value)
        if name in _SOFTMAX or name == "embedding":
            return 8
        hands_on = name in _HANDS_ON or self._scales(value) or (value.op == "call_function" and not name)
        if not hands_on or len(sources) != 1:
            return 0
        width = self._width(sources[0], value)
        before = bits.get(sources[0], 0)
        return 8 if before == 8 else width.value if width else before

    def _of(self, value: Node, given: int) -> Iterator[Place]:
        grid, bounds = _PROBABILITIES if base_name(value) in _SOFTMAX else (None, None)
        for need in _Need:
            users = tuple(user for user in value.users if self._width(value, user) is need)
            if users and grid is not None and need is _Need.BYTES:
                yield Place(value, users, value, grid, bounds)
            elif users and not (given and given <= need.value):
                yield Place(value, users, value, None if need is _Need.BYTES else _WIDE)

    def _width(self, value: Node, user: Node) -> _Need | None:
        needs = self._needs(value, user)
        return None if not needs else max(needs, key=lambda need: need.value)
