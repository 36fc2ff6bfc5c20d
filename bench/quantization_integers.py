"""Integer-only networks beside their simulation, on the 10,000 test images: a part of bench/quantization.py."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quantization_training import file_of, trained

from gossamer import artifact
from gossamer.datasets import mnist
from gossamer.engine import Engine
from gossamer.onnx import integer_only, lower
from gossamer.quantize import Quantize
from gossamer.task import Task

_BATCH = 500


def integers(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """LeNet-5 and the residual network: errors, and how many images' outputs are bit for bit the reference's."""
    for data, folder in (("MNIST", options.mnist), ("Fashion-MNIST", options.fashion)):
        for network in ("lenet-5", "residual"):
            if folder is not None and file_of(f"{network} {data}", options.out).exists():
                yield _row(f"{network} {data}", options.out, folder)


def _row(name: str, out: Path, folder: Path) -> dict[str, Any]:
    sets = mnist(folder)
    calib = [sets.train.inputs[i : i + 100] for i in range(0, 1000, 100)]
    graph = Quantize(integer_only=True)(trained(name, out), Task(calib=calib)).eval()
    program = artifact.unpack(artifact.pack(lower(graph)))
    engine, port = Engine(program), program.inputs[0].name
    wrong, exact = dict.fromkeys(("fake", "integers"), 0), 0
    for start in range(0, len(sets.test), _BATCH):
        x, wanted = sets.test[start : start + _BATCH]
        ours = engine(x.numpy())
        reference = integer_only.run(program, **{port: x.numpy()})[program.outputs[0].name]
        with torch.no_grad():
            simulated = graph(x).numpy()
        exact += int((ours == reference).all(1).sum())
        for kind, outputs in (("fake", simulated), ("integers", ours)):
            wrong[kind] += int(np.count_nonzero(outputs.argmax(1) != wanted.numpy()))
    return {
        "network": name,
        "images": len(sets.test),
        "exact": exact,
        **{kind: 100 * count / len(sets.test) for kind, count in wrong.items()},
        "floats": len(integer_only.float_operations(program)),
    }
