"""How much each quantized layer matters: the error of the network's outputs where that layer alone is quantized."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.utils import _pytree as pytree

from gossamer._nested import to_device
from gossamer.graph import Graph
from gossamer.task import Task, calibration_inputs, device_of, modes_restored

from .activations import quantizers
from .calibrate import arguments_of
from .run import QuantizedLayer, Run, float_weights, quantized_layers


@torch.no_grad()
def sensitivities(graph: Graph, task: Task, batches: int = 2) -> dict[str, float]:
    """Squared error of the outputs, relative to their squares, by weight: that layer and its input alone quantized.

    ``graph``: quantized. Over ``batches`` calibration batches.
    """
    every = quantized_layers(graph)
    totals = dict.fromkeys((layer.name for layer in every), 0.0)
    squares = 0.0
    with modes_restored(graph):
        graph.eval()
        for inputs in example_batches(graph, task, batches):
            wanted = outputs(partial(graph, ()), inputs)
            squares += sum(float(y.square().sum()) for y in wanted)
            for layer in every:
                found = outputs(partial(graph, [layer]), inputs)
                totals[layer.name] += sum(
                    float((a - b).square().sum()) for a, b in zip(found, wanted, strict=True)
                )
    return {name: total / max(squares, 1e-30) for name, total in totals.items()}


def example_batches(graph: Graph, task: Task, batches: int) -> Iterator[list[Tensor]]:
    """Calibration inputs on the graph's device, in the order of its signature."""
    for inputs in islice(calibration_inputs(task), batches):
        yield arguments_of(graph, to_device(inputs, device_of(graph)))


def partial(graph: Graph, quantized: Collection[QuantizedLayer]) -> Run:
    """The graph with these layers alone quantized: their weights, and the activations that they read."""
    names = {layer.name for layer in quantized}
    read = {node for layer in quantized for use in layer.layer.nodes for node in use.all_input_nodes}
    skipped: list[Node] = [q.node for q in quantizers(graph) if q.node not in read]
    return Run(
        graph, float_weights(graph, [q for q in quantized_layers(graph) if q.name not in names]), skipped
    )


def outputs(run: Run, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The floating-point tensors that the network returns."""
    found: list[Any] = pytree.tree_leaves(run.outputs(inputs))
    return [y for y in found if isinstance(y, Tensor) and y.is_floating_point()]
