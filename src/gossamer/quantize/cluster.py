"""Cluster: weight sharing by k-means; the weights of a layer share 2**bits values, which train on.

Han, Mao, Dally: Deep Compression, 2016, section 3. The gradient of a shared value is the sum of the gradients of the
weights that share it (equation 3).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from gossamer.errors import RecipeError
from gossamer.graph import (
    Graph,
    Pass,
    WeightTransform,
    add_transform,
    effective,
    layers,
    note,
    replace_transform,
    transforms,
)
from gossamer.graph.select import Choice, choose
from gossamer.numerics.kmeans import Initialization, Linear, kmeans
from gossamer.task import Task
from gossamer.weights import Weight, decode, with_codebook


class SharedValues(WeightTransform):
    """``centroids[assignment - 1]``; zero where the assignment is 0 or the weight is: what was removed stays removed.

    ``assignment``: int32, the weight's shape, 0 to len(centroids). ``centroids``: floating, shape (k,), trained.
    """

    assignment: Tensor

    def __init__(self, assignment: Tensor, centroids: Tensor) -> None:
        super().__init__()
        self.register_buffer("assignment", assignment.int())
        self.centroids = nn.Parameter(centroids.detach().clone())

    def forward(self, weight: Tensor) -> Tensor:
        """The shared values; of ``weight`` only its zeros count."""
        table = torch.cat([self.centroids.new_zeros(1), self.centroids])
        shared = table.index_select(0, self.assignment.flatten()).view(self.assignment.shape)
        return torch.where(weight != 0, shared, table[:1])

    def represent(self, weight: Weight) -> Weight:
        """The indices and the centroids."""
        table = np.concatenate([[0.0], self.centroids.detach().cpu().numpy()]).astype(np.float32)
        assignment = np.where(decode(weight) != 0, self.assignment.cpu().numpy(), 0)
        return with_codebook(weight, assignment, table)

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        return {"assignment": self.assignment, "centroids": self.centroids.detach()}


@dataclass(frozen=True)
class Cluster(Pass):
    """Let the weights of each layer share 2**``bits`` values, found by one-dimensional k-means from ``start``.

    ``overrides``: bits of its own for every weight that a pattern matches ("conv*"), 0 to leave it alone. A weight
    that is zero stays exactly zero and takes no part. 1 to 16 bits. Raises RecipeError where bits are out of range
    or a pattern matches no layer.
    """

    bits: int = 5
    start: Initialization = Linear()
    overrides: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, bits, least in [("bits", self.bits, 1), *((p, b, 0) for p, b in self.overrides.items())]:
            if not isinstance(bits, int) or not least <= bits <= 16:
                raise RecipeError(f"Cluster: {place} is {bits}; give a whole number from {least} to 16")

    def check(self, graph: Graph, task: Task) -> None:
        """Every pattern matches a layer."""
        del task
        self._chosen(graph)

    def _chosen(self, graph: Graph) -> Choice[int]:
        return choose(layers(graph), self.bits, self.overrides, "Cluster")

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` whose weights carry SharedValues."""
        del task
        chosen = self._chosen(graph)
        bits_of = {name: bits for name, bits in chosen.values.items() if bits > 0}
        clustered = copy.deepcopy(graph)
        if not bits_of:
            note("Cluster", "nothing to do: every layer was given 0 bits")
        for name, bits in bits_of.items():
            self._cluster(clustered, name, bits)
        return clustered

    def _cluster(self, graph: Graph, name: str, bits: int) -> None:
        weight = effective(graph, name)
        alive = weight != 0
        if not bool(alive.any()):
            note(name, "not clustered: every weight is zero")
            return
        assignment, centroids = kmeans(weight[alive], 2**bits, self.start)
        table = torch.zeros(weight.shape, dtype=torch.int32, device=weight.device)
        table[alive] = assignment.int() + 1
        shared = SharedValues(table, centroids)
        present = transforms(graph, name)
        if present and isinstance(present[-1], SharedValues):
            replace_transform(graph, name, len(present) - 1, shared)
        else:
            add_transform(graph, name, shared)
