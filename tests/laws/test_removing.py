"""What is removed whole combines with every criterion and every allocation, and is gone."""

import copy

import pytest
import torch
from cases import ALLOCATIONS, CRITERIA, STRUCTURED, task
from torch import Tensor, nn

import gossamer as gs
from gossamer.graph import check, fingerprint, from_state, to_state
from gossamer.prune import BatchNormScale, Chance, GateOpenness, Sensitivity, StdThreshold


class Block(nn.Module):
    """One of each: neurons, heads, two residual blocks, batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm = nn.Linear(20, 16), nn.BatchNorm1d(16)
        self.qkv, self.mix = nn.Linear(4, 24), nn.Linear(8, 4)
        self.up, self.down = nn.Linear(4, 12), nn.Linear(12, 4)
        self.fc2 = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.fc1(x))).view(-1, 4, 4)
        q, k, v = self.qkv(x).view(-1, 4, 3, 4, 2).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1)).softmax(-1)
        x = x + self.mix((weights @ v).transpose(1, 2).flatten(2))
        x = x + self.down(torch.relu(self.up(x)))
        return self.fc2(x.flatten(1))


@pytest.fixture(scope="module")
def traced():
    torch.manual_seed(7)
    return gs.trace(Block(), torch.randn(4, 20))


@pytest.fixture
def graph(traced):
    return copy.deepcopy(traced)


def size(graph):
    return sum(p.numel() for p in graph.parameters())


def check_smaller(graph, pruned):
    check(pruned)
    assert size(pruned) < size(graph)
    x = torch.randn(5, 20)
    with torch.no_grad():
        assert torch.equal(pruned.eval()(x), from_state(to_state(pruned)).eval()(x))


@pytest.mark.parametrize("granularity", STRUCTURED, ids=repr)
@pytest.mark.parametrize("by", CRITERIA, ids=repr)
def test_every_criterion(graph, by, granularity):
    if isinstance(by, BatchNormScale):
        pytest.skip("only the first layer here has a batch norm")
    if isinstance(by, GateOpenness):
        pytest.skip("scores gates, which elements have")
    mark = fingerprint(graph)
    check_smaller(graph, gs.Prune(0.5, granularity, by)(graph, task()))
    assert fingerprint(graph) == mark


@pytest.mark.parametrize("granularity", STRUCTURED, ids=repr)
@pytest.mark.parametrize("allocate", ALLOCATIONS, ids=repr)
def test_every_allocation(graph, allocate, granularity):
    pruned = gs.Prune(0.6, granularity, Chance(), allocate)(graph, task())
    if size(pruned) == size(graph):  # a threshold on scores may spare all units
        assert isinstance(allocate, (Sensitivity, StdThreshold))
    else:
        check_smaller(graph, pruned)
