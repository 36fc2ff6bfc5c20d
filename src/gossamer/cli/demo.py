"""``gossamer demo``: LeNet-300-100 on MNIST, from training to a file forty times smaller that runs without
torch.

Han, Mao, Dally: Deep Compression, ICLR 2016, in the time of a coffee. The figures of the paper's tables, with
three seeds and longer training, are ``make bench-deep-compression``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gossamer.errors import GossamerError, InputError

if TYPE_CHECKING:
    from torch import nn

    from gossamer.datasets import Mnist
    from gossamer.graph import Pass
    from gossamer.measure import Comparison
    from gossamer.result import Result
    from gossamer.task import Task

_CHECKOUT = Path(__file__).resolve().parents[3]
Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """What the demo found. Errors are shares of the 10,000 test images, counted in a process without torch."""

    file: str
    report: str
    test_images: int
    error_original: float
    error: float
    seconds_without_torch: float
    comparison: Comparison


def find_mnist(given: Path | None) -> Path:
    """The folder of the four IDX files: ``given``, $GOSSAMER_DATA, ./data/mnist, or the repository's own.

    Raises ``InputError`` that lists where it looked.
    """
    named = os.environ.get("GOSSAMER_DATA")
    if given is not None:
        places = [given]
    else:
        places = [Path(named), Path(named) / "mnist"] if named else []
        places += [Path("data/mnist"), _CHECKOUT / "data" / "mnist"]
    for place in places:
        if any((place / f"train-images-idx3-ubyte{suffix}").is_file() for suffix in (".gz", "")):
            return place
    looked = ", ".join(str(place) for place in places)
    raise InputError(
        f"MNIST is not there; looked for train-images-idx3-ubyte.gz in: {looked}. Give its folder with --data"
    )


def run_demo(data: Path, file: Path, report: Path, *, quick: bool, say: Say, seed: int = 0) -> DemoResult:
    """Train, compress, save, serve without torch, measure, report. ``quick``: a tenth of the training."""
    import torch

    from gossamer import compress
    from gossamer.datasets import mnist

    digits = mnist(data)
    task = _task(digits)
    say(f"training LeNet-300-100 on {len(digits.train):,} digits")
    with _one_thread():
        torch.manual_seed(seed)
        model = _trained(task, epochs=1 if quick else 9, seed=seed)
        say("compressing: prune and retrain in rounds, share weights, retrain")
        result = compress(model, task, _recipe(quick, seed), name="LeNet-300-100")
    result.save(file)
    say(f"wrote {file}: {file.stat().st_size:,} bytes; serving it in a process that cannot import torch")
    served = _served_without_torch(result, file, digits)
    original, ours = served["networks"]
    say("measuring: every installed runtime by turns")
    comparison = result.comparison
    result.report(report)
    return DemoResult(
        file=str(file),
        report=str(report),
        test_images=ours["images"],
        error_original=original["errors"] / original["images"],
        error=ours["errors"] / ours["images"],
        seconds_without_torch=ours["seconds"],
        comparison=comparison,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Layers this small gain nothing from a second thread, and on a busy machine they lose."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _task(digits: Mnist) -> Task:
    import torch.nn.functional as functional

    from gossamer import Task, metrics
    from gossamer.datasets import RandomShift, loader

    return Task(
        train=loader(digits.train, 128, shuffle=True, augment=RandomShift(1)),
        valid=loader(digits.valid, 1000),
        loss=functional.cross_entropy,
        metric=metrics.error,
        maximize=False,
    )


def _trained(task: Task, epochs: int, seed: int) -> nn.Module:
    """Trained with dropout, and then without: a pruned network has nothing to spare (Han et al. 2015, section 3.2)."""
    from gossamer import trace
    from gossamer.networks import lenet_300_100
    from gossamer.task import example_inputs
    from gossamer.train import AdamW, Cosine, Finetune

    fresh = trace(lenet_300_100(dropout=0.1), example_inputs(task))
    trained = Finetune(epochs, AdamW(2e-3, weight_decay=0.01), Cosine(), seed=seed)(fresh, task)
    model = lenet_300_100()
    model.load_state_dict(trained.state_dict())
    return model


def _recipe(quick: bool, seed: int) -> list[Pass]:
    from gossamer import Cluster, Prune, Repeat
    from gossamer.train import Adam, AdamW, Cosine, Finetune

    def retrain(epochs: int) -> Finetune:
        return Finetune(epochs, AdamW(2e-3, weight_decay=0.05), Cosine(), seed=seed)

    prune = Prune(0.935, overrides={"fc2": 0.85, "fc3": 0.6})
    rounds = 2 if quick else 4
    return [
        Repeat(rounds, [prune, retrain(1)]),
        retrain(1 if quick else 5),
        Cluster(bits=5),
        Finetune(1 if quick else 2, Adam(2e-4), Cosine(), seed=seed),
    ]


def _served_without_torch(result: Result, file: Path, digits: Mnist) -> dict[str, Any]:
    """What a fresh process, in which torch cannot be imported, answers about the original and the saved
    file.
    """
    with tempfile.TemporaryDirectory(prefix="gossamer-") as folder:
        images, original = Path(folder) / "test.npz", Path(folder) / "original.goss"
        np.savez(images, images=digits.test.inputs.numpy(), labels=digits.test.targets.numpy())
        original.write_bytes(result.stages[0].data)
        command = [
            sys.executable,
            "-m",
            "gossamer.cli.torchless",
            str(images),
            str(original),
            str(file.absolute()),
        ]
        packages = str(Path(__file__).absolute().parents[2])
        path = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
    if done.returncode:
        last = next(iter(reversed(done.stderr.strip().splitlines())), f"exit code {done.returncode}")
        raise GossamerError(f"{file} does not run without torch: {last}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def as_json(found: DemoResult) -> dict[str, Any]:
    """The figures, and the whole comparison that the report was made of."""
    measured = found.comparison
    return {
        **{key: value for key, value in vars(found).items() if key != "comparison"},
        "file_bytes": measured.final.file_bytes,
        "compression_rate": measured.compression_rate,
        "parameters": measured.final.parameters,
        "parameters_kept": measured.final.parameters_kept,
        "comparison": asdict(measured),
    }
