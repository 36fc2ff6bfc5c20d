"""SmoothQuant: what makes activations hard to quantize moves into the weights.

Xiao et al. 2023, SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, equation 4.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Layer, Pass, layers, note, original, transforms
from gossamer.graph.modes import arguments
from gossamer.task import Task

from .activations import keep_tensor
from .calibrate import watch
from .placement import base_name, operand


@dataclass(frozen=True)
class SmoothQuant(Pass):
    """Before Quantize: divide what linear layers read by s, channel by channel, and multiply their weights by it.

    For each channel s = max|x|^alpha / max|w|^(1 - alpha). The network computes the same. A layer norm that linear
    layers alone read is divided for nothing. With ``multiply`` all other inputs of linear layers are divided by a
    multiplication in front of them, as transformers with their norms behind the residual sum need it; without, they are
    noted. ``batches`` calibration batches (None: all).
    """

    alpha: float = 0.5
    batches: int | None = None
    multiply: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise RecipeError(f"SmoothQuant(alpha={self.alpha}): give a share from 0 to 1")

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` with other weights."""
        smooth = copy.deepcopy(graph)
        found = _readers(smooth)
        if not self.multiply:
            found = {
                source: readers
                for source, readers in found.items()
                if _is_smoothed_for_nothing(source, readers)
            }
        if not found:
            note(
                "SmoothQuant",
                "nothing to do: no layer norm is read by linear layers alone, and multiply=False"
                if not self.multiply
                else "nothing to do: there is no linear layer with plain weights",
            )
            return smooth
        largest: dict[Node, Tensor] = {}

        def seeing(source: Node) -> object:
            def see(x: Tensor) -> None:
                now = x.abs().flatten(0, -2).amax(0)
                largest[source] = torch.maximum(largest[source], now) if source in largest else now

            return see

        watch(smooth, task, self.batches, [(source, seeing(source)) for source in found])  # type: ignore[misc]
        for source, readers in found.items():
            self._smooth(smooth, source, readers, largest[source])
        smooth.recompile()
        return smooth

    @torch.no_grad()
    def _smooth(self, graph: Graph, source: Node, readers: list[Layer], x: Tensor) -> None:
        weights = [original(graph, layer.weight) for layer in readers]
        w = torch.stack(
            [_by_input(weight, layer).abs().amax(1) for weight, layer in zip(weights, readers, strict=True)]
        )
        scale = x.clamp(min=1e-5) ** self.alpha / w.amax(0).clamp(min=1e-5) ** (1 - self.alpha)
        for weight, layer in zip(weights, readers, strict=True):
            _by_input(weight, layer).mul_(scale[:, None])
        if _is_private_norm(source, readers):
            _divide_norm(graph, source, scale)
        else:
            _divide(graph, source, readers, scale)


def _by_input(weight: Tensor, layer: Layer) -> Tensor:
    """A view of a matrix with the input channels first."""
    return weight if layer.input_axis == 0 else weight.transpose(0, 1)


def _divide_norm(graph: Graph, norm: Node, scale: Tensor) -> None:
    for name in ("weight", "bias"):
        value = arguments(norm)[name]
        if isinstance(value, Node):
            original(graph, str(value.target)).div_(scale)


def _divide(graph: Graph, source: Node, readers: list[Layer], scale: Tensor) -> None:
    """Put a multiplication by 1 / scale between ``source`` and the layers that read it."""
    with graph.graph.inserting_after(source):
        factor = keep_tensor(graph, f"{source.name}_smooth", "factor", 1 / scale)
    with graph.graph.inserting_after(factor):
        product = graph.graph.call_function(torch.ops.aten.mul.Tensor, (source, factor))
    factor.meta, product.meta = dict(source.meta), dict(source.meta)
    for layer in readers:
        layer.node.replace_input_with(source, product)


def _readers(graph: Graph) -> dict[Node, list[Layer]]:
    """The linear layers with plain weights of their own, by the node that they multiply."""
    found: dict[Node, list[Layer]] = {}
    for layer in layers(graph):
        plain = len(layer.nodes) == 1 and len(layer.shape) == 2 and layer.input_axis is not None
        source = operand(layer.node) if plain else None
        if source is not None and not transforms(graph, layer.weight):
            found.setdefault(source, []).append(layer)
    return found


def _is_smoothed_for_nothing(source: Node, readers: list[Layer]) -> bool:
    private = _is_private_norm(source, readers)
    if not private and base_name(source) == "layer_norm":
        note(
            source.name,
            "not smoothed: other operators than linear layers read this layer norm; SmoothQuant(multiply=True) would",
        )
    return private


def _is_private_norm(source: Node, readers: list[Layer]) -> bool:
    """Whether ``source`` is a layer norm with weights of its own that nothing but ``readers`` reads."""
    return (
        base_name(source) == "layer_norm"
        and isinstance(arguments(source)["weight"], Node)
        and set(source.users) == {layer.node for layer in readers}
    )
