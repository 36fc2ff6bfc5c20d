"""Wanda: magnitude times the norm of what the weight is multiplied with.

Sun, Liu, Bair, Kolter: A Simple and Effective Pruning Approach for Large Language Models. 2024, equation 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, final

import torch
import torch.fx
from torch import Tensor
from torch.fx import Node

from gossamer._nested import leaves, map_leaves, to_device
from gossamer.graph import Graph, Layer, note
from gossamer.graph import layers as layers_of
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments
from gossamer.task import Task, device_of, training_batches
from gossamer.train.randomness import preserved_randomness, seed_everything, seed_loader

from .criterion import Criterion
from .sampling import Probe

# Operators that are linear in their input, and what they call it.
_INPUT = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), "input"),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), "input"),
}
_FACTORS = {"mm": ("self", "mat2"), "matmul": ("self", "other"), "addmm": ("mat1", "mat2")}


@final
@dataclass(frozen=True)
class Wanda(Criterion):
    """s = |w| ||x||_2, x all values that the weight is multiplied with over the inputs of ``batches`` batches.

    Needs inputs alone: those of ``calib`` where the task has it, else of the training batches. The paper compares the
    weights of an output with one another: ``NM(n, m)`` does, as does any granularity along the inputs. Layers that are
    not linear in their inputs (recurrent ones) are scored by |w|, which is noted.
    """

    batches: int | None = 16
    seed: int = field(default=0, kw_only=True)

    def check(self, graph: Graph, task: Task) -> None:
        """Inputs are needed."""
        del graph
        if task.calib is None:
            task.require("train")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        probe = Probe.of(graph, weights)
        found = [layer for layer in layers_of(graph) if layer.weight in weights]
        total = {name: torch.zeros_like(leaf) for name, leaf in probe.leaves.items()}
        device = device_of(graph)
        with preserved_randomness(task.train), torch.enable_grad():
            seed_everything(self.seed)
            for inputs in islice(self._inputs(task), self.batches):
                for name, squares in _squares(probe, found, to_device(inputs, device)).items():
                    total[name] += squares
        return {name: leaf.detach().abs() * total[name].sqrt() for name, leaf in probe.leaves.items()}

    def _inputs(self, task: Task) -> Any:
        if task.calib is not None:
            return iter(task.calib)
        seed_loader(task.train, self.seed, 0)
        return (inputs for inputs, _ in training_batches(task))


def _squares(probe: Probe, found: Sequence[Layer], inputs: Any) -> dict[str, Tensor]:
    """By weight, for each element the sum of the squares of what it is multiplied with."""
    recorder = _Recorder(probe.graph, {node.name for layer in found for node in layer.nodes})
    recorder.run_on(inputs)
    for node in recorder.skipped:
        note(node, "Wanda scores it by magnitude alone: it is not linear in its inputs")
    gradients = probe.gradients(recorder.flow)
    skipped = {layer.weight for layer in found if all(n.name in recorder.skipped for n in layer.nodes)}
    return {n: torch.ones_like(g) if n in skipped else g.detach() for n, g in gradients.items()}


class _Recorder(torch.fx.Interpreter):
    """Runs a graph and, beside every layer, the layer on the squares of its input.

    Its outputs' sum has as derivative by a weight the sum of the squares that the weight is multiplied with.
    """

    def __init__(self, graph: Graph, nodes: set[str]) -> None:
        super().__init__(graph)
        self._graph, self._nodes = graph, nodes
        self.flow = torch.zeros(())
        self.skipped: set[str] = set()

    def run_on(self, inputs: Any) -> None:
        """Run on inputs as a loader gives them."""
        if isinstance(inputs, Mapping):
            names = [spec.name for spec in self._graph.signature]
            inputs = [inputs[name] for name in names if name in inputs]
        self.run(*leaves(inputs), enable_io_processing=False)

    def run_node(self, n: Node) -> Any:
        """Run ``n``, and add what it makes of squares. What it gives is detached: gradients stop at the next layer."""
        if n.name not in self._nodes:
            return super().run_node(n)
        self._add(n)
        return map_leaves(
            lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, super().run_node(n)
        )

    def _add(self, node: Node) -> None:
        name = operator_name(node)
        given = {key: self._value(value) for key, value in arguments(node).items()}
        if name in _INPUT:
            given[_INPUT[name]] = given[_INPUT[name]].detach().square()
            given["bias"] = None
        elif name in _FACTORS:
            first, second = _FACTORS[name]
            moving = (
                first if given[second].requires_grad else second
            )  # nothing but weights requires a gradient
            given[moving] = given[moving].detach().square()
            if name == "addmm":
                given["self"] = torch.zeros_like(given["self"])
        else:
            self.skipped.add(node.name)
            return
        target: Any = node.target
        self.flow = self.flow + target(**given).sum()

    def _value(self, argument: Any) -> Any:
        return torch.fx.node.map_arg(argument, lambda node: self.env[node])
