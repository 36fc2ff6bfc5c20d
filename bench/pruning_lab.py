"""What the experiments on pruning share: data that stays on the device, trained baselines, errors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gossamer as gs
from gossamer.datasets import Examples, Mnist, mnist
from gossamer.errors import TaskError
from gossamer.graph import Graph, cost, from_state, to_state
from gossamer.networks import lenet_5, lenet_300_100, residual_cnn
from gossamer.task import Task
from gossamer.train import AdamW, Cosine, Finetune, checkpointing, load_state, save_state

ROOT = Path(__file__).parents[1]
BATCH = 128
FASHION = "dataset-fashion-mnist"  # the Debian package


@dataclass(frozen=True)
class Subject:
    """A network on its data, and how its dense baseline is trained.

    ``dropout``: of the dense network; what is pruned has fewer weights to overfit with and trains with
    ``dropout_pruned``. ``shift``: by up to so many pixels the training images are moved.
    """

    name: str
    title: str
    data: str
    build: Callable[[float], nn.Module]
    epochs: int
    lr: float
    decay: float
    shift: int
    dropout: float = 0.0
    dropout_pruned: float = 0.0

    def training(self, seed: int) -> Finetune:
        """The baseline's."""
        return Finetune(self.epochs, AdamW(self.lr, weight_decay=self.decay), Cosine(), seed=seed)


def _residual(dropout: float) -> nn.Module:
    """It has batch norm and no dropout."""
    del dropout
    return residual_cnn()


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("lenet-300-100", "LeNet-300-100, MNIST", "mnist", lenet_300_100, 15, 2e-3, 0.01, 1, 0.1),
        Subject("lenet-5", "LeNet-5 (Caffe's), MNIST", "mnist", lenet_5, 8, 2e-3, 0.01, 1, 0.3, 0.1),
        Subject("residual", "residual CNN, Fashion-MNIST", "fashion", _residual, 8, 4e-3, 0.02, 1),
    )
}


class Batches:
    """Batches of tensors that lie on the device already; order and shifts are drawn from torch's generators."""

    def __init__(self, examples: Examples, size: int, shuffle: bool = False, shift: int = 0) -> None:
        self.examples, self.size, self.shuffle, self.shift = examples, size, shuffle, shift

    def __len__(self) -> int:
        return -(-len(self.examples) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, targets = self.examples.inputs, self.examples.targets
        count = len(inputs)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for chosen in order.to(inputs.device).split(self.size):
            images = inputs[chosen]
            yield (shifted(images, self.shift) if self.shift else images), targets[chosen]


def shifted(images: Tensor, pixels: int) -> Tensor:
    """Each image moved by up to ``pixels`` each way; what moves in repeats the edge. On the images' device."""
    n, _, height, width = images.shape
    padded = F.pad(images, (pixels,) * 4, mode="replicate")
    down, right = torch.randint(2 * pixels + 1, (2, n, 1)).to(images.device)
    rows = down + torch.arange(height, device=images.device)
    columns = right + torch.arange(width, device=images.device)
    each = torch.arange(n, device=images.device).view(n, 1, 1)
    return padded[each, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


@dataclass
class Lab:
    """Where jobs run. ``thrift``: every training is shortened to so many epochs; for trying the bench out."""

    device: torch.device
    folder: Path
    mnist_folder: Path
    fashion_folder: Path
    thrift: int | None = None
    _data: dict[str, Mnist] = field(default_factory=dict)

    def data(self, name: str) -> Mnist:
        """A data set on the device."""
        if name not in self._data:
            loaded = mnist(self.mnist_folder) if name == "mnist" else fashion_mnist(self.fashion_folder)
            self._data[name] = Mnist(
                *(Examples(e.inputs.to(self.device), e.targets.to(self.device)) for e in loaded)
            )
        return self._data[name]

    def task(self, subject: Subject, shift: int | None = None, batch: int = BATCH) -> Task:
        """The subject's; the metric is the validation error."""
        data = self.data(subject.data)
        return gs.Task(
            train=Batches(data.train, batch, shuffle=True, shift=subject.shift if shift is None else shift),
            valid=Batches(data.valid, 1000),
            loss=F.cross_entropy,
            metric=gs.metrics.error,
            maximize=False,
        )

    def short(self, train: Finetune) -> Finetune:
        """``train``, shortened where the bench is only tried out."""
        return (
            train
            if self.thrift is None
            else dataclasses.replace(train, epochs=min(train.epochs, self.thrift))
        )

    def fresh(self, subject: Subject, seed: int, dropout: float = 0.0) -> Graph:
        """The untrained network; channels last, in which CPUs train convolutions fastest."""
        torch.manual_seed(seed)
        graph = gs.trace(subject.build(dropout), torch.zeros(2, 1, 28, 28)).to(self.device)
        return graph.to(memory_format=torch.channels_last)

    def baseline(self, subject: Subject, seed: int) -> Graph:
        """The dense network, trained once; with the dropout of what is pruned."""
        path = self.folder / "baselines" / f"{subject.name}-{seed}-{self.thrift}.state"
        if not path.exists():
            with checkpointing(self.folder / "checkpoints", f"baseline-{subject.name}-{seed}-{self.thrift}"):
                dense = self.fresh(subject, seed, subject.dropout)
                trained = self.short(subject.training(seed))(dense, self.task(subject))
            save_state(path, {"weights": trained.cpu().state_dict()})
        graph = self.fresh(subject, seed, subject.dropout_pruned)
        graph.load_state_dict(load_state(path)["weights"])
        return graph

    def outcome(self, subject: Subject, graph: Graph) -> dict[str, Any]:
        """Errors in percent on both splits that did not train, the share of weights kept, MACs."""
        spent = cost(graph)
        weights = spent.layers
        return {
            "error": self.error(subject, graph, "test"),
            "valid_error": self.error(subject, graph, "valid"),
            "kept": 100
            * sum(layer.nonzero for layer in weights)
            / sum(layer.parameters for layer in weights),
            "macs": spent.macs,
            "executed_macs": spent.executed_macs,
            "layers": {layer.name: [layer.nonzero, layer.parameters] for layer in weights},
        }

    @torch.no_grad()
    def error(self, subject: Subject, graph: Graph, split: str) -> float:
        """Percent of the images that ``graph`` gets wrong."""
        examples: Examples = getattr(self.data(subject.data), split)
        graph.eval()
        wrong = sum(int((graph(x).argmax(1) != y).sum()) for x, y in Batches(examples, 1000))
        return 100 * wrong / len(examples)

    def keep(self, key: str, graph: Graph) -> None:
        """Store a graph whose speed is to be measured, later and perhaps elsewhere; one of the seeds is enough."""
        path = self.folder / "graphs" / f"{key.replace('/', '~')}.state"
        if not path.exists():
            save_state(path, {"graph": to_state(graph.cpu())})

    @cached_property
    def kept_graphs(self) -> dict[str, Graph]:
        """What was stored, by key."""
        found = sorted((self.folder / "graphs").glob("*.state"))
        return {path.stem.replace("~", "/"): from_state(load_state(path)["graph"]) for path in found}


def fashion_mnist(folder: Path) -> Mnist:
    """Fashion-MNIST from the folder of its Debian package. Raises TaskError, with the command, where it is absent."""
    try:
        return mnist(folder)
    except TaskError as error:
        raise TaskError(
            f"Fashion-MNIST is not in {folder}: install the Debian package {FASHION} (apt-get install {FASHION}), or "
            "give the folder of its four IDX files: --fashion FOLDER"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
