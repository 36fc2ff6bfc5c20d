"""ReestimateBatchNorm and FreezeBatchNorm: the statistics of batch norms in a network that is quantized.

Quantization moves the means and variances that batch norms expect: they are measured again (Sun et al. 2019, Hybrid
8-bit Floating Point Training, section 4; Krishnamoorthi 2018, section 3.2.2 for freezing).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from gossamer.graph import Graph, Pass, note, original
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments, average_factor, count_batch, set_argument
from gossamer.task import Task

from .calibrate import watch


@dataclass(frozen=True)
class ReestimateBatchNorm(Pass):
    """Replace running means and variances by those of ``batches`` calibration batches (None: all).

    Every batch norm sees what the network, in eval mode otherwise, gives it with the statistics of the batch before it.
    """

    batches: int | None = None

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` with other running statistics."""
        measured = copy.deepcopy(graph)
        found = [_Statistics(measured, node) for node in batch_norms(measured)]
        if not found:
            note(
                "ReestimateBatchNorm", "nothing to do: the network has no batch norm with running statistics"
            )
            return measured
        for each in found:  # one after the other, for each changes what the next one sees
            watch(measured, task, self.batches, [(each.source, each.add)])
            each.write()
        return measured


@dataclass(frozen=True)
class FreezeBatchNorm(Pass):
    """From here on batch norms use and keep their running statistics while training: the last part of a QAT."""

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` whose batch norms do not follow the mode."""
        del task
        frozen = copy.deepcopy(graph)
        found = [node for node in batch_norms(frozen) if arguments(node)["training"] is not False]
        if not found:
            note("FreezeBatchNorm", "nothing to do: the network has no batch norm that follows its batches")
        for node in found:
            set_argument(node, "training", False)
            set_argument(node, "momentum", 0.0)
        _drop_counters(frozen)
        return frozen


def _drop_counters(graph: Graph) -> None:
    for target in (average_factor, count_batch):
        for node in graph.graph.find_nodes(op="call_function", target=target):
            reads = {reader.target for reader in node.users}
            if not reads:
                graph.graph.erase_node(node)
    graph.recompile()


def batch_norms(graph: Graph) -> list[Node]:
    """Batch norms with running statistics."""
    found = [node for node in graph.graph.nodes if operator_name(node) == "batch_norm"]
    return [node for node in found if isinstance(arguments(node)["running_mean"], Node)]


class _Statistics:
    """Mean and variance of each channel of a batch norm's input, over batches."""

    def __init__(self, graph: Graph, norm: Node) -> None:
        given = arguments(norm)
        self.source: Node = given["input"]
        self._mean, self._variance = (
            original(graph, str(given[n].target)) for n in ("running_mean", "running_var")
        )
        self._sum = torch.zeros_like(self._mean, dtype=torch.float64)
        self._squares, self._count = self._sum.clone(), 0

    def add(self, x: Tensor) -> None:
        channels = x.transpose(0, 1).flatten(1).double()
        self._sum += channels.sum(1)
        self._squares += channels.square().sum(1)
        self._count += channels.shape[1]

    @torch.no_grad()
    def write(self) -> None:
        mean = self._sum / self._count
        variance = (self._squares / self._count - mean.square()).clamp(min=0)
        self._mean.copy_(mean)
        self._variance.copy_(variance * (self._count / max(1, self._count - 1)))
