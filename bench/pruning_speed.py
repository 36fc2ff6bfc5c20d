"""The Engine's latency of the networks that the experiments on pruning kept: float32, and int8 with the same zeros.

int8 is ONNX Runtime's static quantization in QDQ form, ranges from training images, weights per channel and symmetric,
so that zeros stay zeros. All networks are raced with the dense one, in processes of their own, in alternating blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pruning_lab import SUBJECTS, Lab

from gossamer import artifact
from gossamer import onnx as gossamer_onnx
from gossamer.graph import Graph
from gossamer.measure import Gossamer, Runner, race, speedup

AT_A_TIME = 6  # networks in a race, beside the dense one
CALIBRATION = 4  # batches of 64 images
Array = npt.NDArray[np.float32]


def measured(lab: Lab, dense: str, cpu_time: bool = False) -> Iterator[tuple[str, dict[str, float]]]:
    """By key of a kept graph: milliseconds and how many times as fast as ``dense``, in float32 and in int8."""
    graphs = {
        key: graph for key, graph in lab.kept_graphs.items() if key.split("/")[0] == dense.split("/")[0]
    }
    images = lab.data(SUBJECTS["residual"].data).train.inputs.cpu().numpy()
    with tempfile.TemporaryDirectory() as folder:
        for precision, prefix in (("fp32", ""), ("int8", "int8_")):
            paths = {k: write(g, Path(folder), k, precision, images) for k, g in graphs.items()}
            for key, (milliseconds, ratio) in raced(paths, dense, images[:1], cpu_time):
                yield key, {f"{prefix}milliseconds": milliseconds, f"{prefix}speedup": ratio}


def write(graph: Graph, folder: Path, key: str, precision: str, images: Array) -> Path:
    """The graph as the file that is raced."""
    stem = folder / key.replace("/", "~").replace(" ", "_").replace("%", "")
    program = gossamer_onnx.lower(graph.eval())
    if precision == "fp32":
        artifact.write(program, stem.with_suffix(".goss"))
        return stem.with_suffix(".goss")
    floating, path = stem.with_suffix(".float.onnx"), stem.with_suffix(".onnx")
    gossamer_onnx.save(program, floating)
    quantize(floating, path, images)
    return path


def quantize(source: Path, path: Path, images: Array) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.name, self.batches = name, iter(range(CALIBRATION))

        def get_next(self) -> Mapping[str, Array] | None:
            batch = next(self.batches, None)
            return None if batch is None else {self.name: images[64 * batch : 64 * batch + 64]}

    import onnx

    prepared = path.with_suffix(".prepared")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    (given,) = onnx.load(source).graph.input
    options: dict[str, Any] = {"quant_format": QuantFormat.QDQ, "per_channel": True}
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(prepared, path, Reader(given.name), **options, **kinds)


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
