"""One file as a measurement: what its bytes are spent on, and what running it costs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gossamer.artifact import Description, Program, WeightBytes, describe
from gossamer.errors import FormatError, InputError, UnsupportedError
from gossamer.measure.cost import Macs, macs
from gossamer.measure.records import LayerMeasurement, Measurement
from gossamer.weights import Codebook, Sparse, Weight, decode, dtype

File: TypeAlias = "str | os.PathLike[str] | bytes"
_BINS = 64


def describe_file(file: File) -> Description:
    """What the bytes of a ``.goss`` file (a path, or its bytes) or an ``.onnx`` file (a path) are spent on.

    Raises ``FormatError`` for a file that is not valid and ``InputError`` for one that is not there.
    """
    if isinstance(file, bytes):
        return describe(file)
    path = Path(file)
    with naming(path):
        if path.suffix == ".onnx":
            from gossamer.measure.onnx_file import describe_onnx

            return describe_onnx(path)
        return describe(path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Inside, what is wrong with the bytes of ``path`` is said with its name; ``InputError`` where it is no file."""
    if not path.is_file():
        raise InputError(f"{path} is {'a folder' if path.is_dir() else 'not there'}: give the path of a file")
    try:
        yield
    except (FormatError, UnsupportedError) as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def measure_file(file: File, **measured: Any) -> Measurement:
    """Bytes, layers and multiply-accumulates of a file; raises as :func:`describe_file` does.

    ``measured``: what was measured by running it: ``metric``, ``latencies``, ``peak_memory_bytes``.
    """
    return measurement(describe_file(file), **measured)


def layer_measurements(file: File) -> tuple[LayerMeasurement, ...]:
    """The layers alone of :func:`measure_file`: one row for each weight that is a parameter of the network."""
    return measure_file(file).layers


def measurement(description: Description, **measured: Any) -> Measurement:
    """As :func:`measure_file`, of a file that was described already."""
    program = description.program
    total, by_weight = macs(program)
    layers = tuple(
        _layer(row, program.weights[row.name], by_weight[row.name])
        for row in _in_order(description.weights, program)
        if is_parameter(program.weights[row.name])
    )
    return Measurement(
        file_bytes=description.bytes,
        parameters=sum(layer.elements for layer in layers),
        parameters_kept=sum(layer.kept for layer in layers),
        macs=None if total is None else total.dense,
        macs_executed=None if total is None else total.executed,
        **{"metric": None, **measured},
        layers=layers,
    )


def is_parameter(weight: Weight) -> bool:
    """Whether a weight belongs to the network's parameters: floating-point or narrow integers.

    Shapes, axes and indices, which ONNX keeps among the weights, are integers of 32 or 64 bits.
    """
    kind = dtype(weight)
    return np.issubdtype(kind, np.floating) or (np.issubdtype(kind, np.integer) and kind.itemsize < 4)


def _in_order(rows: tuple[WeightBytes, ...], program: Program) -> list[WeightBytes]:
    """Rows in the order in which the network uses them: a file keeps them in an order of its own."""
    uses = [name for operation in program.operations for name in operation.inputs]
    position = {name: i for i, name in reversed(list(enumerate(uses)))}
    return sorted(rows, key=lambda row: position.get(row.name, len(uses)))


def _layer(row: WeightBytes, weight: Weight, cost: Macs | None) -> LayerMeasurement:
    fields = asdict(row)
    del fields["table_bytes"]
    centroids, counts = _centroids(weight)
    return LayerMeasurement(
        **fields,
        macs=None if cost is None else cost.dense,
        macs_executed=None if cost is None else cost.executed,
        histogram=_histogram(weight),
        centroids=centroids,
        centroid_counts=counts,
    )


def _histogram(weight: Weight) -> tuple[tuple[float, ...], tuple[int, ...]] | None:
    values = decode(weight.values if isinstance(weight, Sparse) else weight).ravel().astype(np.float64)
    kept = values[(values != 0) & np.isfinite(values)]
    if kept.size == 0:
        return None
    counts, edges = np.histogram(kept, bins=_BINS)
    return tuple(float(e) for e in edges), tuple(int(c) for c in counts)


def _centroids(weight: Weight) -> tuple[tuple[float, ...] | None, tuple[int, ...] | None]:
    shared = weight.values if isinstance(weight, Sparse) else weight
    if not isinstance(shared, Codebook):
        return None, None
    counts = np.bincount(shared.indices.ravel(), minlength=len(shared.centroids))
    return tuple(float(c) for c in shared.centroids), tuple(int(n) for n in counts)
