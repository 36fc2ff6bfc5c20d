"""The promise, end to end: zeros in blocks and 8 bits, raced against OpenVINO's int8 of the dense network."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from quantization_training import folders, trained

import gossamer as gs
from gossamer import artifact
from gossamer.datasets import Mnist, mnist
from gossamer.engine import Engine
from gossamer.graph import Graph
from gossamer.measure import Finish, Runner, race, speedup
from gossamer.measure.runtimes import Gossamer, OpenVino, interpreter_with
from gossamer.onnx import lower, save
from gossamer.quantize import Quantize

Row = dict[str, Any]
DENSE, PEER = "float, dense", "OpenVINO int8, dense"
PASSES = 2  # of the race, each with new processes


def promise(options: argparse.Namespace) -> list[Row]:
    """Error (of every seed), bytes, and one image's time in one alternating race on one thread (of the first seed)."""
    sets = mnist(options.fashion)
    rows = {name: measured(graphs, sets) for name, graphs in contestants(options.out, sets).items()}
    with tempfile.TemporaryDirectory() as folder:
        rows[DENSE]["onnx_bytes"] = exported(trained("wide", options.out), Path(folder)).stat().st_size
        finishes = raced(
            Path(folder), {name: row.pop("files")[0] for name, row in rows.items()}, options, sets
        )
    for finish in zip(*finishes, strict=True):
        add_times(rows.setdefault(finish[0].runner.name, {}), finish, finishes)
    return [{"row": name, **row} for name, row in rows.items()]


def contestants(out: Path, sets: Mnist) -> dict[str, list[Graph]]:
    """By row, the networks of all seeds."""
    floats = [trained("wide", place) for place in folders(out, "wide")]
    calib = gs.Task(calib=[sets.train.inputs[i : i + 100] for i in range(0, 1000, 100)])
    found = {DENSE: floats, "int8, dense": [Quantize()(graph, calib) for graph in floats]}
    for percent in (80, 90):
        job = f"wide {percent} % zeros"
        if places := folders(out, job):
            found[f"int8, {percent} % zeros"] = [trained(job, place) for place in places]
    return found


def measured(graphs: list[Graph], sets: Mnist) -> Row:
    """What the Engine makes of the files: mean error over the seeds, and the first one's bytes."""
    files = [artifact.pack(lower(graph)) for graph in graphs]
    return {
        "error": float(np.mean([error(Engine(artifact.unpack(file)), sets) for file in files])),
        "seeds": len(files),
        "bytes": len(files[0]),
        "files": files,
    }


def error(engine: Engine, sets: Mnist) -> float:
    """Per cent of the test images that come out wrong."""
    parts = zip(sets.test.inputs.split(500), sets.test.targets.split(500), strict=True)
    wrong = sum(int((engine(x.numpy()).argmax(1) != y.numpy()).sum()) for x, y in parts)
    return 100 * wrong / len(sets.test)


def raced(
    folder: Path, files: dict[str, bytes], options: argparse.Namespace, sets: Mnist
) -> list[list[Finish]]:
    """All rows in one race, ``PASSES`` times."""
    one = (sets.test.inputs[:1].numpy(),)
    runners = []
    for number, (name, file) in enumerate(files.items()):
        path = folder / f"{number}.goss"
        path.write_bytes(file)
        runners.append(Runner(Gossamer, path, one, name))
    if interpreter_with("nncf"):
        calib = sets.train.inputs[:1000].numpy()
        xml = openvino_int8(trained("wide", options.out), calib, folder)
        runners.append(Runner(OpenVino, xml, one, PEER))
    else:
        print("OpenVINO and NNCF are not installed: their row is left out", file=sys.stderr)
    return [race(runners) for _ in range(PASSES)]


def add_times(row: Row, passes: tuple[Finish, ...], finishes: list[list[Finish]]) -> None:
    """Milliseconds of each pass, and how many times as long OpenVINO took."""
    row["milliseconds"] = [finish.latency.median_ms for finish in passes]
    peers = [next((f for f in each if f.runner.name == PEER), None) for each in finishes]
    pairs = zip(peers, passes, strict=True)
    row["speedup"] = [speedup(peer.latency, ours.latency).median for peer, ours in pairs if peer is not None]


_NNCF = """
import sys, numpy as np, nncf, openvino
model, calib, out = sys.argv[1], np.load(sys.argv[2]), sys.argv[3]
images = nncf.Dataset([image[None] for image in calib])
quantized = nncf.quantize(openvino.Core().read_model(model), images, subset_size=len(calib))
openvino.save_model(quantized, out, compress_to_fp16=False)
"""


def exported(dense: Graph, folder: Path) -> Path:
    """The float network as ONNX."""
    path = folder / "dense.onnx"
    with torch.no_grad():
        save(lower(dense), path)
    return path


def openvino_int8(dense: Graph, calib: npt.NDArray[np.float32], folder: Path) -> Path:
    """What NNCF's post-training quantization makes of the dense network."""
    exported(dense, folder)
    np.save(folder / "calib.npy", calib)
    paths = [str(folder / name) for name in ("dense.onnx", "calib.npy", "dense.xml")]
    command = [str(interpreter_with("nncf")), "-c", _NNCF, *paths]
    subprocess.run(
        command, check=True, capture_output=True, timeout=1800, env={**os.environ, "PYTHONPATH": ""}
    )
    return folder / "dense.xml"
