"""Criteria of whole filters: the weight of a layer as a matrix of them, and back."""

from __future__ import annotations

from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, layers


def filters_of(graph: Graph, name: str, weight: Tensor) -> tuple[Tensor, int]:
    """(filters, elements) of ``weight``, and the axis along which the filters lie. Raises RecipeError where none is."""
    layer = next(layer for layer in layers(graph) if layer.weight == name)
    if layer.output_axis is None:
        raise RecipeError(
            f"{name}: its outputs lie along no single axis; leave it alone with overrides={{{layer.name!r}: 0}}"
        )
    return weight.movedim(layer.output_axis, 0).flatten(1), layer.output_axis


def shared_by_elements(scores: Tensor, weight: Tensor, axis: int) -> Tensor:
    """Scores of filters, (filters,), in the weight's shape, so that the sum over a filter is its score."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return (scores.view(shape) * len(scores) / weight.numel()).expand(weight.shape)
