"""DirectRemoval: what each group contributes to the validation score, by trying without it.

Mozer, Smolensky: Skeletonization: A Technique for Trimming the Fat from a Network via Relevance Assessment. 1989,
equation 1 (relevance: the error without a unit minus the error with it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, layers
from gossamer.task import Task, evaluate, evaluate_loss

from ..granularity import Elements, Groups
from .criterion import Criterion
from .sampling import Probe


@final
@dataclass(frozen=True)
class DirectRemoval(Criterion):
    """s = validation metric of the network - that without the group (turned around where smaller is better).

    With ``loss`` True, s = validation loss without the group - that of the network: finer than a metric that counts.
    One pass over the validation set for each group, of which there may be ``most``; more are a RecipeError.
    """

    loss: bool = False
    most: int = 4096

    def check(self, graph: Graph, task: Task) -> None:
        """A validation set, and the metric or the loss, are needed."""
        del graph
        task.require("valid")
        task.require("loss" if self.loss else "metric")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        found = Elements().groups(graph, [layer for layer in layers(graph) if layer.weight in weights])
        scores = self.scores(graph, task, found)
        shapes = {layer.weight: layer.shape for layer in layers(graph)}
        return {name: scores[name].view(shapes[name]) for name in weights}

    def scores(self, graph: Graph, task: Task, groups: Sequence[Groups]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        count = sum(each.count for each in groups)
        if count > self.most:
            raise RecipeError(
                f"{self}: {count} groups would take as many passes over the validation set; choose a coarser "
                "granularity, prune fewer layers, or raise `most`"
            )
        weights = tuple(dict.fromkeys(name for each in groups for name in each.weights))
        probe = Probe.of(graph, weights)
        whole = self._worth(probe, task)
        return {
            each.name: torch.tensor([whole - worth for worth in self._without(probe, task, each)]).to(
                next(iter(probe.leaves.values())).device
            )
            for each in groups
        }

    def _without(self, probe: Probe, task: Task, groups: Groups) -> Iterator[float]:
        before = {name: probe.leaves[name].detach().clone() for name in groups.weights}
        for index in range(groups.count):
            kept = torch.ones(groups.count, dtype=torch.bool, device=next(iter(before.values())).device)
            kept[index] = False
            masks = groups.spread(kept)
            with torch.no_grad():
                for name, mask in masks.items():
                    probe.leaves[name].mul_(mask)
            yield self._worth(probe, task)
            with torch.no_grad():
                for name in masks:
                    probe.leaves[name].copy_(before[name])

    def _worth(self, probe: Probe, task: Task) -> float:
        if self.loss:
            return -evaluate_loss(probe.graph, task)
        value = evaluate(probe.graph, task)
        return value if task.maximize else -value
