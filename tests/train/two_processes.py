"""Run by torchrun on two processes: ``two_processes.py DIRECTORY``; each saves what it got. No tests here.

The cases are functions that the tests also run in one process, to compare.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from small_tasks import CLASSES, FEATURES, Augmented, compressed_graph, graph, loader_task, task
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler

from gossamer.graph import Graph, add_transform, trace
from gossamer.prune import Mask
from gossamer.quantize import SharedValues
from gossamer.task import Task
from gossamer.train import L2, SGD, Adam, EarlyStopping, Epoch, Finetune, checkpointing, history, save_state

PLAN = Finetune(epochs=3, optimizer=SGD(lr=0.05), penalties=(L2(1e-3),), clip=1.0)


def exact() -> Graph:
    """Nothing looks at a whole batch; the last one has a single example, fewer than there are processes."""
    torch.manual_seed(3)
    layers = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    network = trace(layers, torch.randn(4, FEATURES))
    add_transform(network, "0.weight", Mask(torch.arange(8 * FEATURES).view(8, FEATURES) % 3 > 0))
    assignment = torch.arange(8 * CLASSES).view(CLASSES, 8) % 4 + 1
    add_transform(network, "2.weight", SharedValues(assignment, torch.tensor([-0.3, -0.1, 0.1, 0.3])))
    return PLAN(network, task(size=16, examples=81))


def norm() -> Graph:
    """Weights stand still; the running statistics follow the batches."""
    return Finetune(epochs=1, optimizer=SGD(lr=0.0))(graph(dropout=0.0), task(size=32))


def everything() -> Graph:
    """Batch norm, dropout, mask, codebook, augmentation, early stopping."""
    stopping = EarlyStopping(patience=1)
    return Finetune(3, Adam(lr=0.01), early_stopping=stopping)(compressed_graph(), loader_task())


def dropout() -> Graph:
    """Two equal examples, one for each process, which must not lose the same elements."""
    seen = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(outputs.detach().sum().item())
        return F.cross_entropy(outputs, targets)

    torch.manual_seed(3)
    layers = nn.Sequential(nn.Linear(FEATURES, 64), nn.Dropout(0.5), nn.Linear(64, CLASSES))
    pair = torch.ones(2, FEATURES), torch.zeros(2, dtype=torch.long)
    trained = PLAN(trace(layers, pair[0]), Task(train=[pair], loss=loss))
    everybody = gather_object([seen[-1]])
    if len(set(everybody)) < len(everybody):
        raise RuntimeError(f"the processes drew the same dropout: {everybody}")
    return trained


def split() -> Graph:
    """A loader that gives every process its own part already."""
    data = Augmented()
    sampler = DistributedSampler(data, PartialState().num_processes, PartialState().process_index)
    return PLAN(graph(), Task(train=DataLoader(data, 8, sampler=sampler), loss=F.cross_entropy))


def resumed(interrupt_at: int = 46) -> Graph:
    """Stopped in the second epoch of 24 steps, after the checkpoint at step 20, and started again."""
    calls = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        calls.append(0)
        if len(calls) == interrupt_at:
            raise KeyboardInterrupt
        return F.cross_entropy(outputs, targets)

    data = DataLoader(Augmented(), 4, shuffle=True)
    directory = broadcast_object_list([tempfile.mkdtemp()])[0]
    with suppress(KeyboardInterrupt), checkpointing(directory, "a", steps=20):
        return PLAN(compressed_graph(), Task(train=data, loss=loss))
    with checkpointing(directory, "a", steps=20):
        return PLAN(compressed_graph(), Task(train=data, loss=loss))


def uninterrupted() -> Graph:
    return resumed(interrupt_at=-1)


CASES = (exact, norm, everything, dropout, split, resumed, uninterrupted)


def main(directory: Path) -> None:
    torch.set_num_threads(1)
    for case in CASES:
        with history() as curve:
            network = case()
        rank = PartialState().process_index
        save_state(
            directory / f"{case.__name__}.{rank}", {"network": network.state_dict(), "epochs": plain(curve)}
        )


def plain(curve: list[Epoch]) -> list[tuple[int, float, float | None, float]]:
    return [(epoch.number, epoch.loss, epoch.metric, epoch.learning_rate) for epoch in curve]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
