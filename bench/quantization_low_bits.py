"""Weights of few bits on MNIST: BinaryConnect, TWN, TTQ, INQ, XNOR and fixed point; error and bytes in the file.

A part of bench/quantization.py (``--only "low bits" --train``). Every trained network is kept; what is there is not
trained again, and a killed training goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from quantization_training import SEEDS, of_seed, task_on
from torch import Tensor, nn

import gossamer as gs
from gossamer import Binarize, Repeat, Ternarize, artifact, compress
from gossamer.datasets import Examples, mnist
from gossamer.engine import Engine
from gossamer.graph import Pass
from gossamer.measure import Gossamer, OnnxRuntime, Runner, TorchEager, race, speedup
from gossamer.networks import lenet_5
from gossamer.onnx import lower, save
from gossamer.quantize import TTQ, BinaryConnect, First, FixedPoint, Last, PowersOfTwo
from gossamer.task import Task
from gossamer.train import Adam, Cosine, Finetune, Halving


def perceptron(width: int = 1024, hidden: int = 3) -> nn.Module:
    """The permutation-invariant network of BinaryConnect, section 3.1: three hidden layers, each with its norm."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = 28 * 28
    for _ in range(hidden):
        layers += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 10, bias=False), nn.BatchNorm1d(10))


class BinaryBlocks(nn.Module):
    """XNOR-Net's order of layers, norm, signs, convolution, pooling, between a first and a last layer in float."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 5, padding=2, bias=False)
        self.norm1, self.conv1 = nn.BatchNorm2d(width), nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.norm2, self.conv2 = (
            nn.BatchNorm2d(2 * width),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1, bias=False),
        )
        self.norm3, self.fc1 = nn.BatchNorm1d(4 * width * 9), nn.Linear(4 * width * 9, 512, bias=False)
        self.norm4, self.fc2 = nn.BatchNorm1d(512), nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(F.max_pool2d(self.stem(x), 2))
        x = self.norm2(F.max_pool2d(self.conv1(x), 2))
        x = self.norm3(F.max_pool2d(self.conv2(x), 2).flatten(1))
        return self.fc2(F.relu(self.norm4(self.fc1(x))))


def squared_hinge(outputs: Tensor, targets: Tensor) -> Tensor:
    """The L2-SVM's loss, as BinaryConnect has it: mean of max(0, 1 - t y)^2, t of -1 and 1."""
    signs = 2 * F.one_hot(targets, outputs.shape[1]).to(outputs.dtype) - 1
    return (1 - signs * outputs).clamp(min=0).square().mean()


@dataclass(frozen=True)
class Experiment:
    """A network, what is done to it, and how it is trained."""

    name: str
    build: Callable[[], nn.Module]
    recipe: Sequence[Pass]
    shift: bool = True
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy


def train(epochs: int, lr: float) -> Finetune:
    return Finetune(epochs=epochs, optimizer=Adam(lr=lr), schedule=Cosine())


def experiments() -> list[Experiment]:
    dense = train(8, 2e-3)
    return [
        Experiment("LeNet-5, float", lenet_5, [dense]),
        Experiment("LeNet-5, TWN", lenet_5, [dense, Ternarize(), train(10, 1e-3)]),
        Experiment("LeNet-5, TTQ", lenet_5, [dense, Ternarize(TTQ()), train(20, 1e-3)]),
        Experiment(
            "LeNet-5, INQ 5 bits",
            lenet_5,
            [dense, Repeat(4, [PowersOfTwo(), train(2, 5e-4)], ramp=Halving())],
        ),
        Experiment("LeNet-5, <2, 6> by chance", lenet_5, [FixedPoint(2, 6), dense]),
        Experiment("LeNet-5, <2, 6> to the nearest", lenet_5, [FixedPoint(2, 6, stochastic=False), dense]),
        Experiment(
            "perceptron, BinaryConnect",
            perceptron,
            [Binarize(BinaryConnect()), train(80, 3e-3)],
            shift=False,
            loss=squared_hinge,
        ),
        Experiment(
            "perceptron, BinaryConnect by chance",
            perceptron,
            [Binarize(BinaryConnect(stochastic=True)), train(40, 3e-3)],
            shift=False,
            loss=squared_hinge,
        ),
        Experiment(
            "XNOR network",
            BinaryBlocks,
            [Binarize(activations=True, exempt=[First(), Last()]), train(6, 2e-3)],
        ),
    ]


def file_of(experiment: Experiment, out: Path) -> Path:
    return out / f"{''.join(c if c.isalnum() else '-' for c in experiment.name)}.goss"


def error(file: Path, tested: Examples) -> float:
    """Per cent of the test images that the Engine, running the file, gets wrong."""
    engine = Engine(file)
    answers = [np.asarray(engine(part.numpy())).argmax(1) for part in torch.split(tested.inputs, 500)]
    return 100 * float((np.concatenate(answers) != tested.targets.numpy()).mean())


def run(experiment: Experiment, task: Task, out: Path, options: argparse.Namespace, seed: int) -> Path:
    """The trained network's file: what is there, or trained."""
    out.mkdir(parents=True, exist_ok=True)
    file = file_of(experiment, out)
    if not file.exists():
        torch.manual_seed(seed)
        began = time.monotonic()
        recipe = [trained_as(each, options.epochs, seed) for each in experiment.recipe]
        model = experiment.build().to(options.device)
        compress(model, task, recipe, checkpoint=out / file.stem).save(file)
        print(f"{experiment.name}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    return file


def trained_as(each: Pass, share: float, seed: int) -> Pass:
    """With that share of the epochs, and that seed."""
    if isinstance(each, Finetune):
        return dataclasses.replace(each, epochs=max(1, round(each.epochs * share)), seed=seed)
    if isinstance(each, Repeat):
        return dataclasses.replace(each, passes=[trained_as(inner, share, seed) for inner in each.passes])
    return each


COUNTED = "4096 x 4096 linear layer on 4096 rows, behind its batch norm"


def xnor_speed(out: Path) -> dict[str, object]:
    """A linear layer whose weights and inputs are signs, by its file, against the same layer in float32 in one race."""
    torch.manual_seed(0)
    side = 4096
    layer = nn.Sequential(nn.BatchNorm1d(side), nn.Linear(side, side, bias=False)).eval()
    rows = torch.randn(side, side)
    task = Task(calib=[rows[:2]])
    graph = gs.trace(layer, rows[:2])
    signs, floats, program = (out / f"xnor-speed{suffix}" for suffix in (".goss", ".onnx", ".pt2"))
    artifact.write(lower(Binarize(activations=True)(graph, task)), signs)
    save(lower(graph), floats)
    torch.export.save(torch.export.export(layer, (rows,)), program)
    runtimes = (OnnxRuntime, floats), (TorchEager, program), (Gossamer, floats)
    runners = [Runner(Gossamer, signs, (rows.numpy(),), "XNOR")]
    runners += [Runner(runtime, path, (rows.numpy(),), runtime.name) for runtime, path in runtimes]
    ours, *others = (finish.latency for finish in race(runners, runs=8))
    row: dict[str, object] = {"row": COUNTED, "milliseconds": ours.median_ms}
    for (runtime, _), other in zip(runtimes, others, strict=True):
        row[runtime.name] = {"milliseconds": other.median_ms, "speedup": speedup(other, ours).median}
    alone = [[_slowest(path, rows.numpy()) for path in (signs, floats)] for _ in range(5)]
    row["kernels"] = [float(np.median(times)) / 1000 for times in zip(*alone, strict=True)]
    return row


def _slowest(path: Path, rows: NDArray[np.float32]) -> float:
    """Microseconds of the step that takes longest: the product."""
    return max(step.microseconds or 0.0 for step in Engine(path).explain(rows))


def low_bits(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Every experiment that is trained, or with ``train`` all: errors of the seeds, and the first file's bytes."""
    folder = options.out / "low-bits"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["ACCELERATE_MIXED_PRECISION"] = options.mixed_precision
    tested = mnist(options.mnist).test
    for experiment in experiments():
        if not experiment.name.startswith(options.jobs) or options.rows not in experiment.name:
            continue
        files = list(files_of(experiment, folder, options))
        if files:
            errors, size = [error(file, tested) for file in files], files[0].stat().st_size
            yield {"row": experiment.name, "errors": errors, "error": float(np.mean(errors)), "bytes": size}
    if options.rows in COUNTED:
        yield xnor_speed(folder)


def files_of(experiment: Experiment, folder: Path, options: argparse.Namespace) -> Iterator[Path]:
    """The file of each seed that is trained, or that ``train`` asks for."""
    for seed in range(SEEDS):
        out = of_seed(folder, seed)
        if (options.train and seed < options.seeds) or file_of(experiment, out).exists():
            task = task_on(options.mnist, options.device, options.examples, batch=128)
            shuffled = dataclasses.replace(task.train, shift=experiment.shift)
            task = dataclasses.replace(task, train=shuffled, loss=experiment.loss)
            yield run(experiment, task, out, options, seed)
