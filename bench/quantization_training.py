"""The trainings behind bench/quantization.py: on any device, kept as files, apart from where it measures.

    python bench/quantization_training.py --device cuda --fashion FOLDER --out bench/out/quantization

Every trained graph is a file of tensors in that folder, in a folder of its own for each seed but the first; what is
there already is not trained again. To see it work in a minute: ``--epochs 0.01 --examples 512 --out /tmp/try``.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gossamer.datasets import Examples, RandomShift, mnist
from gossamer.graph import Graph, Pass, from_state, to_state, trace
from gossamer.metrics import accuracy
from gossamer.networks import lenet_5, residual_cnn
from gossamer.prune import Blocks, Prune
from gossamer.quantize import MSE, FreezeBatchNorm, Int, Learned, Quantize
from gossamer.recipe import Cubic, Repeat, unroll
from gossamer.task import Task
from gossamer.train import AdamW, Cosine, Finetune, checkpointing

ROOT = Path(__file__).parents[1]
SEEDS = 3


class Separable(nn.Module):
    """MobileNet v1's blocks (Howard et al. 2017) for 28 x 28: depthwise 3x3 and 1x1, each with its norm and ReLU6."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        plan = [(width, 1), (2 * width, 2), (2 * width, 1), (4 * width, 2), (4 * width, 1), (8 * width, 1)]
        layers: list[nn.Module] = [
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
        ]
        inputs = width
        for outputs, stride in plan:
            layers += [
                nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
            ]
            layers += [
                nn.ReLU6(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU6(),
            ]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean((2, 3)))


@dataclass
class Shuffled:
    """Batches of tensors that lie on one device already, in a new order every epoch, shifted by up to two pixels."""

    examples: Examples
    batch: int
    shift: bool = True

    def __len__(self) -> int:
        return len(self.examples) // self.batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.examples)).to(self.examples.targets.device)
        shifted = RandomShift(2)
        for start in range(0, len(self) * self.batch, self.batch):
            inputs, targets = self.examples[order[start : start + self.batch]]
            yield (shifted(inputs) if self.shift else inputs), targets


def task_on(folder: Path, device: str, examples: int | None = None, batch: int = 256) -> Task:
    """A data set in MNIST's form, its tensors on ``device``."""
    data = mnist(folder)
    train, valid = (
        Examples(part.inputs[:examples].to(device), part.targets[:examples].to(device))
        for part in (data.train, data.valid)
    )
    batches = [valid[i : i + 500] for i in range(0, len(valid), 500)]
    return Task(train=Shuffled(train, batch), valid=batches, loss=F.cross_entropy, metric=accuracy)


def training(epochs: int, lr: float) -> Finetune:
    return Finetune(epochs=epochs, optimizer=AdamW(lr=lr, weight_decay=0.01), schedule=Cosine(warmup=0.5))


@dataclass(frozen=True)
class Job:
    """A trained network: from ``build``, or from another job's, by ``recipe``."""

    name: str
    data: str
    recipe: Sequence[Pass]
    build: Callable[[], nn.Module] | None = None
    after: str | None = None


def aware(bits: int, epochs: int) -> list[Pass]:
    """QAT: MSE ranges to begin with, learned scales (LSQ), batch norms frozen for the last fifth."""
    quantize = Quantize(
        weights=Int(bits),
        activations=Int(bits),
        ranges=MSE(),
        weight_ranges=MSE(),
        training=Learned(),
        batches=8,
    )
    last = max(1, epochs // 5)
    return [quantize, training(max(1, epochs - last), 1e-3), FreezeBatchNorm(), training(last, 1e-4)]


def sparse(amount: float, rounds: int, epochs: int) -> list[Pass]:
    """Blocks of the Engine's pattern to zero, little by little; then 8-bit weights and activations, trained."""
    prune = Prune(amount, granularity=Blocks(), overrides={"stem": 0.0, "fc": 0.0})
    quantize = Quantize(training=Learned(), batches=8)
    return [
        Repeat(rounds, [prune, training(epochs, 1e-3)], ramp=Cubic()),
        training(rounds * epochs, 1e-3),
        quantize,
        training(epochs, 2e-4),
    ]


def jobs(scale: float) -> list[Job]:
    """All of them; ``scale`` multiplies the epochs."""

    def n(epochs: int) -> int:
        return max(1, round(epochs * scale))

    found = [
        Job("lenet-5 MNIST", "mnist", [training(n(5), 1e-3)], lenet_5),
        Job("lenet-5 Fashion-MNIST", "fashion", [training(n(6), 1e-3)], lenet_5),
        Job("residual MNIST", "mnist", [training(n(3), 3e-3)], residual_cnn),
        Job("residual Fashion-MNIST", "fashion", [training(n(4), 3e-3)], residual_cnn),
        Job("separable", "fashion", [training(n(6), 3e-3)], lambda: Separable(16)),
        Job("wide", "fashion", [training(n(4), 2e-3)], lambda: residual_cnn(64, 3, 2)),
    ]
    found += [Job(f"separable QAT {b}", "fashion", aware(b, n(6)), after="separable") for b in (4, 8, 3, 2)]
    for percent, rounds in ((80, 2), (90, 4)):
        recipe = sparse(percent / 100, rounds, n(1))
        found.append(Job(f"wide {percent} % zeros", "fashion", recipe, after="wide"))
    return found


def file_of(name: str, out: Path) -> Path:
    return out / f"{name.replace(' ', '-').replace('%', 'percent')}.pt"


def trained(name: str, out: Path) -> Graph:
    """The graph that a job left, on the CPU, in eval mode."""
    return from_state(torch.load(file_of(name, out), map_location="cpu", weights_only=True)).eval()


def folders(out: Path, name: str) -> list[Path]:
    """Where the networks of a job are, one folder for each seed that was trained."""
    return [
        folder for folder in (of_seed(out, seed) for seed in range(SEEDS)) if file_of(name, folder).exists()
    ]


def of_seed(out: Path, seed: int) -> Path:
    return out if seed == 0 else out / f"seed-{seed}"


def run(job: Job, out: Path, task: Task, device: str, seed: int = 0) -> None:
    """Train and keep; nothing where the file is there. Killed, the training goes on where it was."""
    path = file_of(job.name, out)
    if path.exists():
        return
    began = time.monotonic()
    torch.manual_seed(seed)
    if job.build is not None:
        inputs = next(iter(task.valid))[0][:2]
        graph = trace(job.build().to(device), inputs).to(memory_format=torch.channels_last)
    else:
        graph = from_state(torch.load(file_of(job.after or "", out), map_location=device, weights_only=True))
    with checkpointing(out / "checkpoints" / path.stem, seconds=60):
        for each in unroll(job.recipe):
            each = dataclasses.replace(each, seed=seed) if isinstance(each, Finetune) else each
            graph = each(graph, dataclasses.replace(task))
    torch.save(to_state(graph), path)
    print(f"{job.name}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)


def train_all(options: argparse.Namespace) -> None:
    """Every job whose data is there, seed after seed."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = options.mixed_precision
    tasks: dict[str, Task] = {}
    for seed in range(options.seeds):
        folder = of_seed(options.out, seed)
        folder.mkdir(parents=True, exist_ok=True)
        for job in jobs(options.epochs):
            data = getattr(options, job.data)
            if data is not None and job.name.startswith(options.jobs):
                if job.data not in tasks:
                    tasks[job.data] = task_on(data, options.device, options.examples)
                run(job, folder, tasks[job.data], options.device, seed)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the trainings."""
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--mnist", type=Path, default=ROOT / "data/mnist")
    parser.add_argument("--fashion", type=Path, default=os.environ.get("GOSSAMER_FASHION"))
    parser.add_argument("--out", type=Path, default=ROOT / "bench/out/quantization")
    parser.add_argument("--epochs", type=float, default=1.0, help="share of the epochs")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", default="", help="trainings whose name begins so")
    parser.add_argument("--mixed-precision", default="no", help="no, bf16 or fp16 (Accelerate's)")
    parser.add_argument("--examples", type=int, help="so many training images alone, to see it work")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments(parser)
    options = parser.parse_args()
    options.fashion = None if options.fashion is None else Path(options.fashion)
    torch.set_num_threads(1)
    train_all(options)


if __name__ == "__main__":
    main()
