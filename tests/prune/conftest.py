"""The small network on which criteria are computed by brute force."""

import pytest
import torch
import torch.nn.functional as F
from criteria_cases import Net

import gossamer as gs


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(5)
    return Net().double()


@pytest.fixture(scope="module")
def graph(net):
    return gs.trace(net, torch.randn(4, 4, dtype=torch.float64))


@pytest.fixture(scope="module")
def batches():
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    return [(inputs[i : i + 6], inputs[i : i + 6, :3].argmax(1)) for i in (0, 6)]


@pytest.fixture(scope="module")
def task(batches):
    return gs.Task(train=batches, valid=batches, loss=F.cross_entropy, metric=gs.metrics.accuracy)
