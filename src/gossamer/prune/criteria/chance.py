"""Chance: what any criterion has to beat.

Mittal, Bhardwaj, Khapra, Ravindran: Recovering from Random Pruning: On the Plasticity of Deep Convolutional Neural
Networks. 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer.graph import Graph, original
from gossamer.task import Task

from ..granularity import Groups
from .criterion import Criterion


@final
@dataclass(frozen=True)
class Chance(Criterion):
    """s ~ U(0, 1), for every group by itself, drawn from ``seed``."""

    seed: int = 0

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        del task
        chance = torch.Generator().manual_seed(self.seed)
        shapes = {name: original(graph, name) for name in weights}
        return {n: torch.rand(w.shape, generator=chance).to(w.device) for n, w in shapes.items()}

    def scores(self, graph: Graph, task: Task, groups: Sequence[Groups]) -> dict[str, Tensor]:
        """See :class:`Criterion`: sums of many draws would all be alike."""
        del task
        chance = torch.Generator().manual_seed(self.seed)
        devices = {each.name: original(graph, each.weights[0]).device for each in groups}
        return {each.name: torch.rand(each.count, generator=chance).to(devices[each.name]) for each in groups}
