"""Running a quantized graph with replacements: weights of one's own, quantizers switched off, values looked at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from gossamer.graph import Graph, Layer, layers, note, original, replace_transform, transforms
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments
from gossamer.numerics import affine

from .activations import quantizers
from .placement import operand
from .weights import FakeQuantize


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer whose weight ends in FakeQuantize; ``place`` is its place among the transforms."""

    layer: Layer
    transform: FakeQuantize
    place: int

    @property
    def name(self) -> str:
        """The weight's name."""
        return self.layer.weight


def quantized_layers(graph: Graph) -> list[QuantizedLayer]:
    """The layers with quantized weights, in order of execution."""
    found = []
    for layer in layers(graph):
        steps = transforms(graph, layer.weight)
        if steps and isinstance(steps[-1], FakeQuantize):
            found.append(QuantizedLayer(layer, steps[-1], len(steps) - 1))
    return found


def unquantized(graph: Graph, layer: QuantizedLayer) -> Tensor:
    """The weight as it is before its FakeQuantize: masks and the like applied, detached."""
    value = original(graph, layer.name).detach()
    for step in transforms(graph, layer.name)[: layer.place]:
        value = step(value)
    return value.detach()


class Run(torch.fx.Interpreter):
    """A graph in its present mode, with replacements.

    ``weights``: tensors by name that are read instead of the graph's. ``skipped``: quantizer nodes that pass their
    value on. The graph's own weights, and what their transforms make of them, are read once.
    """

    def __init__(
        self, graph: Graph, weights: Mapping[str, Tensor] | None = None, skipped: Collection[Node] = ()
    ) -> None:
        super().__init__(graph)
        self._read: dict[str, Any] = dict(weights or {})
        self._skipped = skipped

    def fetch_attr(self, target: str) -> Any:
        """A weight, replaced or the graph's own."""
        if target not in self._read:
            self._read[target] = super().fetch_attr(target)
        return self._read[target]

    def run_node(self, n: Node) -> Any:
        """One node. (The interpreter's own way costs more than many a node on small batches.)"""
        if n in self._skipped:
            return self.env[n.all_input_nodes[0]]
        if n.op == "call_function":
            target: Any = _conv2d if n.target is torch.ops.aten.conv2d.default else n.target
            args, kwargs = map_arg((n.args, n.kwargs), self.env.__getitem__)
            return target(*args, **kwargs)
        if n.op == "get_attr":
            return self.fetch_attr(str(n.target))
        return super().run_node(n)

    def values(self, inputs: Iterable[Tensor]) -> Iterator[tuple[Node, Any]]:
        """Every node with its value, in order, for inputs in the order of the signature; each is forgotten in time."""
        self.env.clear()
        self.args_iter = iter(inputs)
        for node in self.graph.nodes:
            self.env[node] = value = self.run_node(node)
            yield node, value
            for unused in self.user_to_last_uses.get(node, []):
                self.env.pop(unused, None)

    def outputs(self, inputs: Iterable[Tensor]) -> Any:
        """What the graph returns, as its output node has it."""
        *_, (_, result) = self.values(inputs)
        return result


_ONE_DNN = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """aten.conv2d; on the CPU by oneDNN with the channels last, which is twice as fast as what torch takes for small
    batches in one thread.
    """
    if torch.is_grad_enabled() or not _ONE_DNN or not _is_images(x) or weight.dtype != x.dtype:
        plain: Tensor = torch.ops.aten.conv2d.default(x, weight, bias, stride, padding, dilation, groups)
        return plain
    images = x.contiguous(memory_format=torch.channels_last)
    kernels = weight.contiguous(memory_format=torch.channels_last)
    convolve: Any = torch.mkldnn_convolution  # known to the type checker with fewer arguments
    result: Tensor = convolve(images, kernels, bias, _pair(padding), _pair(stride), _pair(dilation), groups)
    return result


def _is_images(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.ndim == 4 and x.numel() > 0


def _pair(given: int | Sequence[int]) -> list[int]:
    values = [given] if isinstance(given, int) else list(given)
    return values * 2 if len(values) == 1 else values


def quantizer_nodes(graph: Graph) -> dict[Node, Node]:
    """The value that each quantizer quantizes, by the quantizer's node."""
    return {q.node: q.value for q in quantizers(graph)}


def float_weights(graph: Graph, among: Collection[QuantizedLayer]) -> dict[str, Tensor]:
    """The unquantized weights of some layers, by name: for :class:`Run`."""
    return {layer.name: unquantized(graph, layer) for layer in among}


def weight_argument(layer: Layer) -> str | None:
    """The argument of the layer's operator that is the weight itself; None where it is a view of it."""
    given = arguments(layer.node)
    for name in ("weight", "mat2", "other"):
        value = given.get(name)
        if isinstance(value, Node) and value.op == "get_attr" and value.target == layer.weight:
            return name
    return None


def product(layer: Layer, x: Tensor, weight: Tensor) -> Tensor:
    """What the layer's operator makes of input ``x`` with another weight and no bias."""
    given: dict[str, Any] = dict(arguments(layer.node))
    name = weight_argument(layer)
    assert name is not None  # callers have looked
    if operator_name(layer.node) == "addmm":
        return x @ weight
    source = operand(layer.node)
    for key, value in given.items():
        if value is source:
            given[key] = x
    given[name] = weight
    if "bias" in given:
        given["bias"] = None
    target: Any = layer.node.target
    result: Tensor = target(*given.values())
    return result


def source(layer: QuantizedLayer) -> Node:
    """The node whose value the layer's operator multiplies."""
    found = operand(layer.layer.node)
    assert found is not None  # of layers that `correctable` gave
    return found


def correctable(graph: Graph) -> list[QuantizedLayer]:
    """Quantized layers whose weight one product reads, as it is: those that can be computed apart."""
    found = quantized_layers(graph)
    for each in found:
        if not _is_apart(each):
            note(each.name, "left as it is: this weight is not read by one product alone, as it is")
    return [each for each in found if _is_apart(each)]


def _is_apart(layer: QuantizedLayer) -> bool:
    single = len(layer.layer.nodes) == 1 and weight_argument(layer.layer) is not None
    return single and operand(layer.layer.node) is not None


@torch.no_grad()
def hold(graph: Graph, layer: QuantizedLayer, values: Tensor) -> None:
    """Make ``values``, which lie on the layer's grid, its weight; with the same scales they round to themselves."""
    scale, zero = layer.transform.parameters_for(unquantized(graph, layer))
    original(graph, layer.name).copy_(values)
    step = layer.transform
    if step.how == "follows":
        extremes = torch.aminmax(step.rows.split(values), dim=1)
        grid = step.grid
        scale = scale / affine.parameters(*extremes, grid.low, grid.high, grid.symmetric)[0]
    replace_transform(
        graph, layer.name, layer.place, FakeQuantize.on(step.grid, step.rows, scale, zero, step.how)
    )
