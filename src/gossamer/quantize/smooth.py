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

from .calibrate import watch
from .placement import base_name, operand


@dataclass(frozen=True)
class SmoothQuant(Pass):
    """Before Quantize: divide the outputs of each layer norm by s, multiply the weights that read them.

    For each channel s = max|x|^alpha / max|w|^(1 - alpha). The network computes the same. Only where linear layers
    alone read the norm; what else is there is noted. ``batches`` calibration batches (None: all).
    """

    alpha: float = 0.5
    batches: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise RecipeError(f"SmoothQuant(alpha={self.alpha}): give a share from 0 to 1")

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` with other weights."""
        smooth = copy.deepcopy(graph)
        found = _norms(smooth)
        if not found:
            note("SmoothQuant", "nothing to do: no layer norm is read by linear layers alone")
            return smooth
        largest: dict[Node, Tensor] = {}

        def seeing(norm: Node) -> object:
            def see(x: Tensor) -> None:
                now = x.abs().flatten(0, -2).amax(0)
                largest[norm] = torch.maximum(largest[norm], now) if norm in largest else now

            return see

        watch(smooth, task, self.batches, [(norm, seeing(norm)) for norm in found])  # type: ignore[misc]
        for norm, readers in found.items():
            self._smooth(smooth, norm, readers, largest[norm])
        return smooth

    @torch.no_grad()
    def _smooth(self, graph: Graph, norm: Node, readers: list[Layer], x: Tensor) -> None:
        weights = [original(graph, layer.weight) for layer in readers]
        w = torch.stack(
            [_by_input(weight, layer).abs().amax(1) for weight, layer in zip(weights, readers, strict=True)]
        )
        scale = x.clamp(min=1e-5) ** self.alpha / w.amax(0).clamp(min=1e-5) ** (1 - self.alpha)
        for weight, layer in zip(weights, readers, strict=True):
            _by_input(weight, layer).mul_(scale[:, None])
        for name in ("weight", "bias"):
            held = arguments(norm)[name]
            if isinstance(held, Node):
                original(graph, str(held.target)).div_(scale)


def _by_input(weight: Tensor, layer: Layer) -> Tensor:
    """A view of a matrix with the input channels first."""
    return weight if layer.input_axis == 0 else weight.transpose(0, 1)


def _norms(graph: Graph) -> dict[Node, list[Layer]]:
    """Layer norms with weights of their own, and the linear layers that alone read them."""
    by_node = {node: layer for layer in layers(graph) for node in layer.nodes}
    found = {}
    for node in graph.graph.nodes:
        if base_name(node) != "layer_norm" or not isinstance(arguments(node)["weight"], Node):
            continue
        readers = [by_node.get(user) for user in node.users if operand(user) is node]
        good = [r for r in readers if r is not None and len(r.nodes) == 1 and r.input_axis is not None]
        plain = all(len(r.shape) == 2 and not transforms(graph, r.weight) for r in good)
        if good and plain and len(good) == len(node.users):
            found[node] = good
        else:
            note(node.name, "not smoothed: other operators than linear layers read this layer norm")
    return found
