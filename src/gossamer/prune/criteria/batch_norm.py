"""BatchNormScale: channels that batch norm has learned to switch off.

Liu, Li, Shen, Huang, Yan, Zhang: Learning Efficient Convolutional Networks through Network Slimming. 2017, equation 1.
The training that shrinks the scales is ``Finetune(penalties=(Slimming(1e-4),))``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.fx import Node

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Layer, effective, layers, original
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments
from gossamer.task import Task
from gossamer.train import Penalty

from ..granularity import Groups
from .criterion import Criterion
from .filters import shared_by_elements


@final
@dataclass(frozen=True)
class BatchNormScale(Criterion):
    """s_c = |gamma_c|, gamma the scale of the batch norm after the layer, shared evenly by the weights of channel c.

    With ``allocate=Global()``, for granularities of whole channels. A layer without a batch norm of its own right
    after it is a RecipeError, unless channels are coupled with those of a layer that has one.
    """

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`; zero where there is no batch norm."""
        del task
        found = {}
        for layer in (layer for layer in layers(graph) if layer.weight in weights):
            weight, scale = effective(graph, layer.weight), scale_after(layer)
            if scale is None or layer.output_axis is None:
                found[layer.weight] = torch.zeros_like(weight)
            else:
                found[layer.weight] = shared_by_elements(
                    effective(graph, scale).abs(), weight, layer.output_axis
                )
        return found

    def scores(self, graph: Graph, task: Task, groups: Sequence[Groups]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        scaled = {layer.weight for layer in layers(graph) if scale_after(layer) is not None}
        for each in groups:
            if not scaled.intersection(each.weights):
                raise RecipeError(
                    f"BatchNormScale: no batch norm follows {each.name}; leave it alone with "
                    f"overrides={{{each.name.removesuffix('.weight')!r}: 0}}, or choose another criterion"
                )
        return super().scores(graph, task, groups)


def scale_after(layer: Layer) -> str | None:
    """The name of the scale of the batch norm that alone takes what ``layer`` makes; None where there is none."""
    users = [user for user in layer.node.users if operator_name(user) not in ("sym_size", "size")]
    if len(layer.nodes) != 1 or len(users) != 1 or not operator_name(users[0]).endswith("batch_norm"):
        return None
    scale = arguments(users[0]).get("weight")
    return str(scale.target) if isinstance(scale, Node) and scale.op == "get_attr" else None


@final
@dataclass(frozen=True)
class Slimming(Penalty):
    """``strength * sum(|gamma|)`` over the scales of all batch norms: channels go out one by one (equation 1)."""

    strength: float = 1e-4

    def of(self, weight: Tensor) -> Tensor:
        """See :class:`Penalty`."""
        return self.strength * weight.abs().sum()

    def tensors(self, network: Graph) -> Callable[[], list[Tensor]]:
        """See :class:`Penalty`."""
        nodes = (node for node in network.graph.nodes if operator_name(node).endswith("batch_norm"))
        scales = (arguments(node).get("weight") for node in nodes)
        names = dict.fromkeys(str(s.target) for s in scales if isinstance(s, Node) and s.op == "get_attr")
        if not names:
            raise RecipeError("Slimming: the network has no batch norm with a scale; take the penalty out")
        return lambda: [original(network, name) for name in names]
