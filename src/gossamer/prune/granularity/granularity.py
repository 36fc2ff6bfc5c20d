"""What a granularity is: a way to divide weights into groups that live or die as one."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gossamer.graph import Graph, Layer


class Groups(abc.ABC):
    """Groups of weights that live or die as one, all alike; a group may reach over several weights.

    ``name``: what notes and allocations call them ("fc1.weight"). ``weights``: the names of the weights that they
    lie in. ``count``: how many groups; ``size``: how many weights the largest of them has. ``named``: the weights
    whose amount is theirs, by default all.
    """

    name: str
    weights: tuple[str, ...]
    count: int
    size: int

    @property
    def named(self) -> tuple[str, ...]:
        """See above."""
        return self.weights

    @abc.abstractmethod
    def gather(self, values: Mapping[str, Tensor]) -> Tensor:
        """From tensors of the weights' shapes, by name, the members of each group: (count, size), filled up with 0."""

    @abc.abstractmethod
    def spread(self, kept: Tensor) -> dict[str, Tensor]:
        """Which weights are kept, bool of each weight's shape by name, from which groups are, bool (count,)."""

    def protected(self, scores: Tensor) -> Tensor:
        """Which groups must stay whatever the allocation says, bool (count,), given the scores of all."""
        return torch.zeros_like(scores, dtype=torch.bool)

    def settled(self, kept: Tensor, scores: Tensor) -> Tensor:
        """What is kept in the end, where not every number of groups will do; by default ``kept``."""
        del scores
        return kept


class Granularity(abc.ABC):
    """The shape of a group."""

    @abc.abstractmethod
    def groups(self, graph: Graph, layers: Sequence[Layer]) -> list[Groups]:
        """The groups in the weights of ``layers``; what cannot be divided so is left out and noted."""

    def check(self, amount: float) -> str | None:
        """What is wrong with removing the share ``amount`` of the groups, or None."""
        del amount
        return None

    def removed(self, graph: Graph, groups: Sequence[Groups], kept: Mapping[str, Tensor]) -> Graph | None:
        """A copy of ``graph`` from which the groups that are not kept are gone; None where they are masked instead.

        ``groups``: what :meth:`groups` found in a graph of the same nodes; ``kept``: bool (count,) by their names.
        """
        del graph, groups, kept
        return None


class LayerGroups(Groups):
    """Groups within the weight of one layer, laid out as (outputs, inputs, positions of the kernel)."""

    def __init__(self, layer: Layer) -> None:
        self.name, self.weights = layer.weight, (layer.weight,)
        self._shape = layer.shape
        axes = (layer.output_axis or 0, layer.input_axis if layer.input_axis is not None else 1)
        self._order = (*axes, *(axis for axis in range(len(layer.shape)) if axis not in axes))
        self.outputs, self.inputs = (layer.shape[axis] for axis in axes)

    def matrix(self, values: Tensor) -> Tensor:
        """A view of shape (outputs, inputs, positions); 1 position where the layer has no kernel."""
        return values.permute(self._order).reshape(self.outputs, self.inputs, -1)

    def restored(self, matrix: Tensor) -> Tensor:
        """The inverse of :meth:`matrix`, contiguous."""
        permuted = matrix.reshape([self._shape[axis] for axis in self._order])
        back = [self._order.index(axis) for axis in range(len(self._shape))]
        return permuted.permute(back).contiguous()
