"""Calibration: the network runs on inputs of its task while observers see the values that will be quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch.fx import Node
from torch.utils import _pytree as pytree

from gossamer._nested import to_device
from gossamer.graph import Graph
from gossamer.task import Task, calibration_inputs, device_of, modes_restored

See = Callable[[Tensor], None]


@torch.no_grad()
def watch(graph: Graph, task: Task, batches: int | None, seeing: Mapping[Node, See]) -> int:
    """Run ``graph`` in eval mode on calibration inputs and show each node's value; how many batches there were.

    ``batches``: at most so many; None for all. A value is shown and then forgotten.
    """
    device, count = device_of(graph), 0
    with modes_restored(graph):
        graph.eval()
        for inputs in calibration_inputs(task):
            if count == batches:
                break
            _Watched(graph, seeing).run(*arguments_of(graph, to_device(inputs, device)), enable_io_processing=False)
            count += 1
    return count


def arguments_of(graph: Graph, inputs: Any) -> list[Tensor]:
    """Inputs as a loader gives them, in the order of the graph's signature."""
    if isinstance(inputs, Mapping):
        return [inputs[item.name] for item in graph.signature]
    return pytree.tree_leaves(inputs)


class _Watched(torch.fx.Interpreter):
    """Runs the nodes up to the last that is watched."""

    def __init__(self, graph: Graph, seeing: Mapping[Node, See]) -> None:
        super().__init__(graph)
        self._seeing = seeing

    def run_node(self, n: Node) -> Any:
        """Run one node and show what it gives."""
        value = super().run_node(n)
        if n in self._seeing:
            self._seeing[n](value)
        return value
