"""SynFlow: synaptic flow, from the weights alone.

Tanaka, Kunin, Yamins, Ganguli: Pruning Neural Networks without any Data by Iteratively Conserving Synaptic Flow. 2020,
equation 2 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from gossamer._nested import leaves, map_leaves, slice_batch, to_device
from gossamer.graph import Graph
from gossamer.task import Task, device_of, example_inputs

from .criterion import Criterion
from .sampling import Probe


@final
@dataclass(frozen=True)
class SynFlow(Criterion):
    """s = |w| dR/d|w| with R the sum of the outputs for an input of ones and the absolute value of every parameter.

    Computed in float64 and eval mode; of the task only the shape of an input is used (inputs of integers, such as
    tokens, as they are). One step removes whole layers; the paper takes 100 with a share that is kept each time:
    ``Repeat(100, [Prune(a, by=SynFlow(), allocate=Global(), least=0)], ramp=Geometric(1 - a))``.
    """

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        probe = Probe.of(graph, weights)
        probe.graph.double()
        with torch.no_grad():
            for parameter in probe.graph.parameters():
                parameter.abs_()
        inputs = to_device(slice_batch(example_inputs(task), 0, 1), device_of(graph))
        with torch.enable_grad():
            outputs = probe.outputs(map_leaves(_ones, inputs))
            flow = sum((out.sum() for out in leaves(outputs) if _floating(out)), start=torch.zeros(()))
            gradients = probe.gradients(flow)
        return {name: leaf.detach() * gradients[name] for name, leaf in probe.leaves.items()}


def _floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _ones(leaf: Any) -> Any:
    return torch.ones_like(leaf, dtype=torch.float64) if _floating(leaf) else leaf
