"""A small network with everything that training has to respect, and tasks for it. No tests here."""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gossamer.graph import Graph, add_transform, trace
from gossamer.metrics import accuracy
from gossamer.prune import Mask
from gossamer.quantize import SharedValues
from gossamer.task import Task

FEATURES, CLASSES, EXAMPLES = 12, 4, 96


class Net(nn.Module):
    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.fc1 = nn.Linear(FEATURES, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(dropout)
        self.fc2 = nn.Linear(16, 8)
        self.fc3 = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(torch.relu(self.norm(self.fc1(x))))
        return self.fc3(torch.relu(self.fc2(hidden)))


def graph(dropout: float = 0.2) -> Graph:
    """The traced network, dense."""
    torch.manual_seed(3)
    return trace(Net(dropout), torch.randn(8, FEATURES))


def kept() -> Tensor:
    return torch.arange(16 * FEATURES).view(16, FEATURES) % 3 > 0


def compressed_graph(dropout: float = 0.2) -> Graph:
    """The same with fc1 under a mask and fc2 under a codebook."""
    network = graph(dropout)
    add_transform(network, "fc1.weight", Mask(kept()))
    assignment = torch.arange(8 * 16).view(8, 16) % 4 + 1
    add_transform(network, "fc2.weight", SharedValues(assignment, torch.tensor([-0.3, -0.1, 0.1, 0.3])))
    return network


def data(examples: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    inputs = torch.randn(examples, FEATURES, generator=generator)
    return inputs, inputs[:, :CLASSES].argmax(1)


def batches(size: int = 16, examples: int = EXAMPLES) -> list[tuple[Tensor, Tensor]]:
    inputs, targets = data(examples)
    return [(inputs[i : i + size], targets[i : i + size]) for i in range(0, examples, size)]


def task(size: int = 16, examples: int = EXAMPLES) -> Task:
    return Task(
        train=batches(size, examples), valid=batches(size, examples), loss=F.cross_entropy, metric=accuracy
    )


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Draws from all three global generators for every example."""

    def __init__(self) -> None:
        self.inputs, self.targets = data()

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = torch.rand(FEATURES) + float(np.random.rand()) + random.random()
        return self.inputs[index] + 0.01 * noise, self.targets[index]


def loader_task(workers: int = 0, generator: torch.Generator | None = None) -> Task:
    loader = DataLoader(Augmented(), 16, shuffle=True, num_workers=workers, generator=generator)
    return Task(train=loader, valid=batches(), loss=F.cross_entropy, metric=accuracy)


def same_state(a: nn.Module, b: nn.Module) -> bool:
    """Whether both have the same tensors, bit for bit."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(same_bytes(ours[name], theirs[name]) for name in ours)


def same_bytes(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
