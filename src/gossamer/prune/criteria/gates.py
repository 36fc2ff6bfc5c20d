"""GateOpenness: what the L0 gates have learned.

Louizos, Welling, Kingma: Learning Sparse Neural Networks through L0 Regularization. 2018, equation 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, original
from gossamer.task import Task

from ..gates import gate_of
from .criterion import Criterion


@final
@dataclass(frozen=True)
class GateOpenness(Criterion):
    """s = P(z > 0) = sigmoid(log alpha - beta log(-gamma / zeta)), summed over a group. A RecipeError without gates."""

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        del task
        found = {}
        for name in weights:
            gate = gate_of(graph, name)
            if gate is None:
                raise RecipeError(
                    f"GateOpenness: {name} has no gates; put OpenGates() and a training before, or leave it alone with "
                    f"overrides={{{name.removesuffix('.weight')!r}: 0}}"
                )
            found[name] = gate.openness().detach().expand(original(graph, name).shape)
        return found
