"""Scratch: the pruned architecture trained from new weights, the control beside fine-tuning.

Liu, Sun, Zhou, Huang, Darrell: Rethinking the Value of Network Pruning. 2019, section 3 (scratch-E and scratch-B).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.fx import Node

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Layer, Pass, cost, layers, note, original
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments
from gossamer.task import Task
from gossamer.train import Finetune
from gossamer.train.randomness import seeded_generator

_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")
_STARTS = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


@final
@dataclass(frozen=True)
class Reinitialize(Pass):
    """New weights, drawn from ``seed``; masks and other transforms stay.

    As ``torch.nn`` does it: weights and biases of layers even in +-1 / sqrt(inputs), embeddings normal, norms 1 and 0
    with statistics at their start. Parameters of other operators stay as they are, and are noted.
    """

    seed: int = 0

    @torch.no_grad()
    def __call__(self, graph: Graph, task: Task) -> Graph:
        """See :class:`Pass`."""
        del task
        fresh = copy.deepcopy(graph)
        generator = seeded_generator(self.seed)
        done = {name for layer in layers(fresh) for name in _draw_layer(fresh, layer, generator)}
        done |= {name for node in fresh.graph.nodes for name in _reset_norm(fresh, node)}
        for node in fresh.graph.nodes:
            name = str(node.target)
            if (
                node.op == "get_attr"
                and name not in done
                and isinstance(_tensor(fresh, name), torch.nn.Parameter)
            ):
                note(name, "Reinitialize leaves it as it is: it belongs to no layer and no norm")
        return fresh


def _draw_layer(graph: Graph, layer: Layer, generator: torch.Generator) -> list[str]:
    """Draw a layer's weight and bias; their names."""
    weight = original(graph, layer.weight)
    outputs = 1 if layer.output_axis is None else layer.shape[layer.output_axis]
    bound = 1 / math.sqrt(max(weight.numel() // outputs, 1))
    if layer.kind == "embedding":
        weight.copy_(torch.randn(weight.shape, generator=generator))
        return [layer.weight]
    drawn = [layer.weight]
    weight.copy_((torch.rand(weight.shape, generator=generator) * 2 - 1) * bound)
    bias = arguments(layer.node).get("bias")
    if isinstance(bias, Node) and bias.op == "get_attr":
        vector = original(graph, str(bias.target))
        vector.copy_((torch.rand(vector.shape, generator=generator) * 2 - 1) * bound)
        drawn.append(str(bias.target))
    return drawn


def _reset_norm(graph: Graph, node: Node) -> list[str]:
    if not operator_name(node).endswith(_NORMS):
        return []
    done = []
    for role, value in _STARTS.items():
        part = arguments(node).get(role)
        if isinstance(part, Node) and part.op == "get_attr":
            original(graph, str(part.target)).fill_(value)
            done.append(str(part.target))
    return done


def _tensor(graph: Graph, name: str) -> Tensor | None:
    try:
        return original(graph, name)
    except AttributeError:  # a module's training flag
        return None


@final
@dataclass(frozen=True)
class Scratch(Pass):
    """Train the network that comes in from new weights, beside fine-tuning it: one line of a recipe.

    ``train``: as the original was trained. Without ``dense_macs`` that is scratch-E, as many epochs; with the
    original's multiply-accumulates it is scratch-B, as much arithmetic: epochs x dense_macs / macs, rounded. Raises
    RecipeError for dense_macs below those of the network.
    """

    train: Finetune
    dense_macs: int | None = None
    seed: int = 0

    def check(self, graph: Graph, task: Task) -> None:
        """See :class:`Pass`."""
        self.train.check(graph, task)

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """See :class:`Pass`."""
        epochs = self.train.epochs
        if self.dense_macs is not None:
            macs = cost(graph).executed_macs
            if self.dense_macs < macs:
                raise RecipeError(
                    f"{self}: the network has {macs} MACs, more than the dense one's {self.dense_macs}"
                )
            epochs = round(epochs * self.dense_macs / max(macs, 1))
        fresh = Reinitialize(self.seed)(graph, task)
        return dataclasses.replace(self.train, epochs=epochs)(fresh, task)
