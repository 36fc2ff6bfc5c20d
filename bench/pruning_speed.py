"""The Engine's latency of the networks that the experiments on pruning kept: float32, and int8 with the same zeros.

int8 is Quantize() after training, ranges from training images; weights are symmetric per channel, so that zeros stay
zeros. All networks are raced with the dense one, in processes of their own, in alternating blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pruning_lab import SUBJECTS, Lab
from torch import Tensor

import gossamer as gs
from gossamer import artifact
from gossamer import onnx as gossamer_onnx
from gossamer.graph import Graph
from gossamer.measure import Gossamer, Runner, machine, race, speedup
from gossamer.quantize import Quantize

AT_A_TIME = 6  # networks in a race, beside the dense one
CALIBRATION = 4  # batches of 64 images
Array = npt.NDArray[np.float32]


def measured(lab: Lab, dense: str, cpu_time: bool = False) -> Iterator[tuple[str, dict[str, float | str]]]:
    """By key of a kept graph: milliseconds and how many times as fast as ``dense``, in float32 and in int8; and where
    that was.
    """
    here = machine()
    graphs = {
        key: graph for key, graph in lab.kept_graphs.items() if key.split("/")[0] == dense.split("/")[0]
    }
    images = lab.data(SUBJECTS["residual"].data).train.inputs.cpu()
    with tempfile.TemporaryDirectory() as folder:
        for precision, prefix in (("fp32", ""), ("int8", "int8_")):
            paths = {k: write(g, Path(folder), k, precision, images) for k, g in graphs.items()}
            for key, (milliseconds, ratio) in raced(paths, dense, images[:1].numpy(), cpu_time):
                times: dict[str, float | str] = {
                    f"{prefix}milliseconds": milliseconds,
                    f"{prefix}speedup": ratio,
                }
                yield key, times | {"timed_on": f"{here.cpu}, {here.instruction_set}"}


def write(graph: Graph, folder: Path, key: str, precision: str, images: Tensor) -> Path:
    """The graph as the file that is raced."""
    path = folder / f"{key.replace('/', '~').replace(' ', '_').replace('%', '')}.goss"
    if precision == "int8":
        graph = Quantize()(graph, gs.Task(calib=list(images[: 64 * CALIBRATION].split(64))))
    artifact.write(gossamer_onnx.lower(graph.eval()), path)
    return path


def raced(
    paths: Mapping[str, Path], dense: str, image: Array, cpu_time: bool
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Median milliseconds, and the dense network's time over it, from races of a few with the dense one."""
    others = [key for key in paths if key != dense]
    for start in range(0, len(others), AT_A_TIME):
        keys: Sequence[str] = [dense, *others[start : start + AT_A_TIME]]
        runners = [Runner(Gossamer, paths[key], (image,), label=key, cpu_time=cpu_time) for key in keys]
        reference, *finishes = (finish.latency for finish in race(runners, runs=400))
        if start == 0:
            yield dense, (reference.median_ms, 1.0)
        for key, latency in zip(keys[1:], finishes, strict=True):
            yield key, (latency.median_ms, speedup(reference, latency).median)
