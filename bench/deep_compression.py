"""Deep Compression's tables for LeNet-300-100 and LeNet-5, on full MNIST, measured on the files that ship.

Han, Mao, Dally: Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and
Huffman Coding, ICLR 2016. Run by ``make bench-deep-compression``. For every seed the bench trains a baseline,
compresses it, writes the file twice (default coder, and the paper's relative indices with Huffman codes), and
has the native Engine classify the 10,000 test images with both. What was tuned was tuned on the 5,000
validation images; nothing here looks at the test images before that.

Killed at any moment, the same command goes on where it was: trainings resume from bench/out/checkpoints, and
the outcome of a finished seed is kept beside them.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from deep_compression_page import write_page, write_readme
from torch import nn

import gossamer as gs
from gossamer import artifact
from gossamer.datasets import Examples, Mnist, RandomShift, loader, mnist
from gossamer.graph import Graph, Pass
from gossamer.measure import layer_measurements, machine
from gossamer.networks import lenet_5, lenet_300_100
from gossamer.train import Adam, AdamW, Cosine, Finetune, checkpointing, showing_progress

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "out"
RESULTS = ROOT / "bench" / "results" / "deep-compression.json"
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "results" / "deep-compression.md"
BATCH = 128
AUGMENT = RandomShift(pixels=1)


@dataclass(frozen=True)
class Experiment:
    """One network: how its baseline is trained, and the recipe, both for a given seed.

    ``dropout``: of the baseline's training; a pruned network has fewer parameters to overfit with, and trains
    with ``dropout_pruned`` (Han et al. 2015, section 3.2).
    """

    title: str
    stem: str
    build: Callable[[float], nn.Module]
    dropout: float
    dropout_pruned: float
    baseline: Callable[[int], Finetune]
    recipe: Callable[[int], Sequence[Pass]]


def train(epochs: int, lr: float, decay: float, seed: int) -> Finetune:
    """Training as every stage but the last does it: AdamW, a cosine down to zero."""
    return Finetune(epochs, AdamW(lr, weight_decay=decay), Cosine(), seed=seed)


def recipe_300_100(seed: int) -> list[Pass]:
    return [
        gs.Repeat(6, [gs.Prune(0.955, overrides={"fc2": 0.92, "fc3": 0.7}), train(2, 2e-3, 0.05, seed)]),
        train(6, 2e-3, 0.05, seed),
        gs.Cluster(bits=5),
        Finetune(3, Adam(2e-4), Cosine(), seed=seed),
    ]


def recipe_5(seed: int) -> list[Pass]:
    amounts = {"conv1": 0.4, "conv2": 0.85, "fc2": 0.85}
    return [
        gs.Repeat(5, [gs.Prune(0.96, overrides=amounts), train(1, 2e-3, 0.05, seed)]),
        train(5, 2e-3, 0.05, seed),
        gs.Cluster(bits=5, overrides={"conv*": 6}),
        Finetune(2, Adam(2e-4), Cosine(), seed=seed),
    ]


EXPERIMENTS = (
    Experiment(
        "LeNet-300-100",
        "lenet-300-100",
        lenet_300_100,
        dropout=0.1,
        dropout_pruned=0.0,
        baseline=lambda seed: train(15, 2e-3, 0.01, seed),
        recipe=recipe_300_100,
    ),
    Experiment(
        "LeNet-5 (Caffe)",
        "lenet-5",
        lenet_5,
        dropout=0.3,
        dropout_pruned=0.1,
        baseline=lambda seed: train(10, 2e-3, 0.01, seed),
        recipe=recipe_5,
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every figure of the paper is reached, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stems = [experiment.stem for experiment in EXPERIMENTS]
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--networks", nargs="+", choices=stems, default=stems)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "mnist", help="folder of the IDX files")
    options = parser.parse_args(arguments)

    data = mnist(options.data)
    outcomes = {
        experiment.stem: [outcome(experiment, seed, data) for seed in options.seeds]
        for experiment in EXPERIMENTS
        if experiment.stem in options.networks
    }
    results = {
        "command": "make bench-deep-compression",
        "machine": dataclasses.asdict(machine()),
        "threads": torch.get_num_threads(),
        "recipes": {e.stem: described(e) for e in EXPERIMENTS if e.stem in outcomes},
        "outcomes": outcomes,
    }
    for path in (RESULTS, PAGE):
        path.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    reached = write_page(results, PAGE)
    if len(outcomes) == len(EXPERIMENTS):
        write_readme(results, README)
    print(PAGE.read_text(encoding="utf-8"))
    return 0 if reached else 1


def outcome(experiment: Experiment, seed: int, data: Mnist) -> dict[str, Any]:
    """What the seed gave: measured now, or read back where an earlier run had finished it."""
    recipe = described(experiment, seed)
    identity = repr([recipe, experiment.baseline(seed), experiment.recipe(seed)])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]  # another recipe is another run
    folder = OUT / "checkpoints" / f"{experiment.stem}-{seed}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "outcome.json"
    if kept.exists():
        stored: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        say(f"{experiment.title}, seed {seed}: finished before, {100 * stored['error']:.2f} %")
        return stored
    say(f"{experiment.title}, seed {seed}: baseline")
    task = gs.Task(
        train=loader(data.train, BATCH, shuffle=True, augment=AUGMENT),
        valid=loader(data.valid, 1000),
        loss=F.cross_entropy,
        metric=gs.metrics.error,
        maximize=False,
    )
    with showing_progress():
        model = baseline(experiment, seed, task, folder)
        say(f"{experiment.title}, seed {seed}: compressing")
        passes = experiment.recipe(seed)
        result = gs.compress(model, task, passes, checkpoint=folder / "recipe", name=experiment.title)
    measured = measure(result, experiment.stem if seed == 0 else f"{experiment.stem}-seed{seed}", data.test)
    measured |= {"seed": seed, "recipe": recipe}
    kept.write_text(json.dumps(measured), encoding="utf-8")
    say(f"{experiment.title}, seed {seed}: {100 * measured['error']:.2f} %, {measured['bytes']} bytes")
    return measured


def baseline(experiment: Experiment, seed: int, task: gs.Task, folder: Path) -> nn.Module:
    """The trained network, with the dropout that its compression trains with."""
    torch.manual_seed(seed)
    fresh = experiment.build(experiment.dropout)
    example = next(iter(task.valid))[0][:2]
    with checkpointing(folder, "baseline"):
        trained: Graph = experiment.baseline(seed)(gs.trace(fresh, example), task)
    model = experiment.build(experiment.dropout_pruned)
    model.load_state_dict(trained.state_dict())
    return model


def measure(result: gs.Result, stem: str, test: Examples) -> dict[str, Any]:
    """Both files on disk: sizes, layers, and the test error of each; and that of the baseline's own file."""
    paths = {"": OUT / f"{stem}.goss", "huffman_": OUT / f"{stem}-huffman.goss"}
    result.save(paths[""])
    result.save(paths["huffman_"], coding=artifact.DeepCompression())
    found: dict[str, Any] = {"baseline_error": test_error(artifact.unpack(result.stages[0].data), test)}
    found["valid_error"] = result.stages[-1].metric
    for prefix, path in paths.items():
        layers = layer_measurements(path)
        found[f"{prefix}error"] = test_error(path, test)
        found[f"{prefix}bytes"] = path.stat().st_size
        found[f"{prefix}layers"] = [dataclasses.asdict(layer) for layer in layers]
        found["parameters"] = sum(layer.elements for layer in layers)
        found["kept"] = sum(layer.kept for layer in layers)
    return found


def test_error(network: Path | artifact.Program, test: Examples) -> float:
    """The share of the test images that the Engine gets wrong."""
    engine = gs.Engine(network)
    logits = np.concatenate([engine(batch.numpy()) for batch in test.inputs.split(1000)])
    return float((logits.argmax(1) != test.targets.numpy()).mean())


def described(experiment: Experiment, seed: int = 0) -> list[str]:
    """The whole recipe, a line for each part."""
    return [
        f"batches of {BATCH}, {brief(AUGMENT)}",
        f"with dropout {experiment.dropout}: {brief(experiment.baseline(seed))}",
        f"with dropout {experiment.dropout_pruned}: {brief(list(experiment.recipe(seed)))}",
    ]


def brief(value: object) -> str:
    """``repr`` without the fields after the first that are as they are by default."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(brief, value))}]"
    if not dataclasses.is_dataclass(value):
        return repr(value)
    told = []
    for position, field in enumerate(dataclasses.fields(value)):
        made = field.default_factory is not dataclasses.MISSING
        default = field.default_factory() if made else field.default
        if position == 0 or getattr(value, field.name) != default:
            told.append(f"{field.name}={brief(getattr(value, field.name))}")
    return f"{type(value).__name__}({', '.join(told)})"


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
