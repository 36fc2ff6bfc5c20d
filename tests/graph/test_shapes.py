"""Shapes without arithmetic are those that the arithmetic has."""

import pytest
import torch
from torch import Tensor, nn

import gossamer as gs
from gossamer.errors import GraphError
from gossamer.graph.shapes import _LIKE_THE_FIRST, shapes

aten = torch.ops.aten
X = torch.randn(2, 6, 5, 4)


class Calls(nn.Module):
    """One operator with its default arguments."""

    def __init__(self, operator: torch._ops.OpOverload) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        return self.operator(x.clone()) + 0.0


@pytest.mark.parametrize("operator", sorted(_LIKE_THE_FIRST, key=str), ids=str)
@pytest.mark.parametrize(
    "x", [X, X.transpose(1, 3), X.half(), X.double()], ids=["plain", "strided", "half", "double"]
)
def test_results_like_the_first_input(operator: torch._ops.OpOverload, x: Tensor) -> None:
    result = operator(x.clone())
    assert (result.shape, result.dtype, result.stride()) == (x.shape, x.dtype, x.clone().stride())


@pytest.mark.parametrize("operator", sorted(_LIKE_THE_FIRST, key=str), ids=str)
def test_shapes_are_those_that_it_computes(operator: torch._ops.OpOverload) -> None:
    graph = gs.trace(Calls(operator), X)
    for value in shapes(graph, batch=3).values():
        if isinstance(value, Tensor):
            assert (value.shape, value.dtype) == ((3, *X.shape[1:]), X.dtype)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_norm_has_its_inputs_shape(batch: int) -> None:
    graph = gs.trace(nn.Sequential(nn.Conv2d(6, 7, 3, padding=1), nn.BatchNorm2d(7), nn.Hardtanh()), X)
    norm = next(node for node in graph.graph.nodes if node.target is aten.batch_norm.default)
    assert shapes(graph, batch)[norm].shape == (batch, 7, 5, 4)


def test_a_batch_norm_of_another_width_is_named() -> None:
    graph = gs.trace(nn.Sequential(nn.Conv2d(6, 7, 3), nn.BatchNorm2d(7)), X)
    graph.get_submodule("1").running_mean = torch.zeros(9)
    with pytest.raises(GraphError, match="batch_norm"):
        shapes(graph)
