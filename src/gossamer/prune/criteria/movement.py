"""Movement: weights that training moves away from zero stay.

Sanh, Wolf, Rush: Movement Pruning: Adaptive Sparsity by Fine-Tuning. 2020, equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph
from gossamer.task import Task, loss_of

from .sampling import Probe, Sampled


@final
@dataclass(frozen=True)
class Movement(Sampled):
    """s = - lr x sum over the steps of g w, while a copy trains for ``batches`` steps of gradient descent.

    The weights alone move, at the learning rate ``lr``, in train mode; the network itself stays as it is. With the
    task whose fine-tuning is to follow, as the paper's; meant for networks that were trained on another one.
    """

    batches: int | None = 64
    lr: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lr > 0:
            raise RecipeError(f"{self}: the learning rate is above 0")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        probe = Probe.of(graph, weights, training=True)
        moved = {name: torch.zeros_like(leaf) for name, leaf in probe.leaves.items()}
        with self.sample(graph, task) as batches:
            for inputs, targets in batches:
                gradients = probe.gradients(loss_of(task, probe.outputs(inputs), targets))
                with torch.no_grad():
                    for name, leaf in probe.leaves.items():
                        moved[name] -= self.lr * gradients[name] * leaf
                        leaf.sub_(self.lr * gradients[name])
        return {name: value.detach() for name, value in moved.items()}
