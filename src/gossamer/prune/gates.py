"""L0 gates: whether a weight is there at all is learned with the weights, by a penalty on how many are.

Louizos, Welling, Kingma: Learning Sparse Neural Networks through L0 Regularization. 2018, equations 10 to 13.

    [OpenGates(), Finetune(20, penalties=(ExpectedL0(1e-6),)), CloseGates(), Finetune(5)]

closes as many as the penalty wants; ``Prune(0.9, by=GateOpenness())`` before CloseGates as many as it says.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from gossamer.errors import RecipeError
from gossamer.graph import (
    Graph,
    Pass,
    WeightTransform,
    add_transform,
    layers,
    note,
    original,
    replace_transform,
    transforms,
)
from gossamer.graph.select import choose
from gossamer.task import Task
from gossamer.train import Penalty
from gossamer.weights import Dense, Weight, decode

from .mask import Mask

LOW, HIGH = -0.1, 1.1  # gamma, zeta: the interval that is stretched over and cut to [0, 1]
TEMPERATURE = 2 / 3  # beta


@final
class HardConcrete(WeightTransform):
    """w z with gates z in [0, 1], drawn anew at every use in train mode, at their centre in eval mode.

    In train mode s = sigmoid((log u - log(1 - u) + log_alpha) / beta), u ~ U(0, 1), and
    z = min(1, max(0, s (zeta - gamma) + gamma)) (equations 10, 11); in eval mode s = sigmoid(log_alpha) (equation 13).
    ``log_alpha``: trained, of a shape that broadcasts to the weight's: a gate for each element, or for each output.
    """

    def __init__(self, log_alpha: Tensor) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(log_alpha.detach().clone())

    def forward(self, weight: Tensor) -> Tensor:
        """The gated weight."""
        if not self.training:
            return weight * self.gates()
        chance = torch.rand_like(self.log_alpha).clamp(1e-6, 1 - 1e-6)
        noise = chance.log() - (1 - chance).log()
        return weight * _cut(((noise + self.log_alpha) / TEMPERATURE).sigmoid())

    def gates(self) -> Tensor:
        """z in eval mode, in the shape of ``log_alpha``."""
        return _cut(self.log_alpha.sigmoid())

    def openness(self) -> Tensor:
        """The probability that a gate is not zero (equation 12), in the shape of ``log_alpha``."""
        return (self.log_alpha - TEMPERATURE * math.log(-LOW / HIGH)).sigmoid()

    @torch.no_grad()
    def represent(self, weight: Weight) -> Weight:
        """The weight times the gates of eval mode."""
        return Dense((torch.from_numpy(decode(weight).copy()) * self.gates().cpu()).numpy())

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        return {"log_alpha": self.log_alpha.detach()}


def _cut(stretched: Tensor) -> Tensor:
    return (stretched * (HIGH - LOW) + LOW).clamp(0, 1)


def gate_of(graph: Graph, weight: str) -> HardConcrete | None:
    """The gates of a weight, if it has any."""
    return next((step for step in transforms(graph, weight) if isinstance(step, HardConcrete)), None)


@final
@dataclass(frozen=True)
class OpenGates(Pass):
    """Put a gate on every element of every layer's weight, or with ``outputs`` on every output of it.

    ``dropout``: how likely a gate is closed at the start. ``overrides``: one of its own for every weight that a pattern
    matches, 0 for no gates. Raises RecipeError unless 0 <= dropout < 1.
    """

    dropout: float = 0.3
    outputs: bool = False
    overrides: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, value in [("dropout", self.dropout), *self.overrides.items()]:
            if not 0 <= value < 1:
                raise RecipeError(f"OpenGates: {place} is {value}; a probability of at least 0 and below 1")

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy with gates."""
        del task
        gated = copy.deepcopy(graph)
        found = layers(gated)
        chosen = choose(found, self.dropout, self.overrides, "OpenGates").values
        if not any(chosen.values()):
            note("OpenGates", "nothing to do: every dropout is zero")
        for layer in found:
            if not chosen.get(layer.weight):
                continue
            if gate_of(gated, layer.weight) is not None:
                note(layer.weight, "has gates already")
                continue
            shape = list(layer.shape)
            if self.outputs:
                shape = [n if axis == layer.output_axis else 1 for axis, n in enumerate(layer.shape)]
            closed = chosen[layer.weight]
            weight = original(gated, layer.weight)
            log_alpha = weight.new_full(shape, math.log(1 - closed) - math.log(closed))
            add_transform(gated, layer.weight, HardConcrete(log_alpha))
        return gated


@final
@dataclass(frozen=True)
class CloseGates(Pass):
    """Make the gates of eval mode part of the weights: where they are zero the weight is masked, for good."""

    @torch.no_grad()
    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy without gates."""
        del task
        closed = copy.deepcopy(graph)
        names = [layer.weight for layer in layers(closed) if gate_of(closed, layer.weight) is not None]
        if not names:
            note("CloseGates", "nothing to do: no weight has gates")
        for name in names:
            gate, steps = gate_of(closed, name), transforms(closed, name)
            assert gate is not None  # that is how the names were found
            index = steps.index(gate)
            if not all(isinstance(step, Mask) for step in steps[:index]):
                note(name, "keeps its gates: another transform than a mask comes before them")
                continue
            gates = gate.gates().expand_as(original(closed, name))
            original(closed, name).mul_(gates)
            replace_transform(closed, name, index, Mask(gates != 0))
        return closed


@final
@dataclass(frozen=True)
class ExpectedL0(Penalty):
    """``strength`` * the expected number of weights whose gate is not zero (equation 12), summed over all gates."""

    strength: float = 1e-6

    def of(self, weight: Tensor) -> Tensor:
        """See :class:`Penalty`; of the probabilities of a weight's elements."""
        return self.strength * weight.sum()

    def tensors(self, network: Graph) -> Callable[[], list[Tensor]]:
        """See :class:`Penalty`."""
        found = [(gate_of(network, layer.weight), layer.shape) for layer in layers(network)]
        gates = [(gate, shape) for gate, shape in found if gate is not None]
        if not gates:
            raise RecipeError("ExpectedL0: no weight has gates; put OpenGates() before the training")
        return lambda: [gate.openness().expand(shape) for gate, shape in gates]
