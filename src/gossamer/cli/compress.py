"""``gossamer compress``: a model and a task from the user's code, a recipe from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gossamer.cli.objects import made_by
from gossamer.cli.output import count, percent, table
from gossamer.errors import InputError, SaveError

if TYPE_CHECKING:
    from gossamer.artifact import Program
    from gossamer.artifact.program import Port
    from gossamer.graph import Graph
    from gossamer.result import Result

_CALIBRATION_BATCH = 16


def run_compress(
    model: str, task: str | None, calib: Path | None, recipe: str, checkpoint: Path | None, seed: int
) -> Result:
    """Import, load, compress. Everything that can be wrong without training is looked at first."""
    import torch
    from torch import nn

    from gossamer import Task, compress, load_recipe
    from gossamer.onnx import load, to_graph

    passes = load_recipe(recipe)
    torch.manual_seed(seed)
    if model.endswith(".onnx"):
        if calib is None:
            raise InputError(f"{model}: an ONNX file needs inputs to calibrate on: --calib inputs.npz")
        program = load(model)
        batches = calibration_batches(calib, program.inputs)
        first = batches[0] if isinstance(batches[0], tuple) else (batches[0],)
        graph = to_graph(program, first)
        batches = [_converted(graph, batch) for batch in batches]
        return compress(graph, Task(calib=batches), passes, checkpoint=checkpoint, name=Path(model).stem)
    if task is None and calib is None:
        raise InputError(
            "a model from Python needs its task (--task package.module:task), or, for what needs no labels, "
            "--calib inputs.npz"
        )
    made = made_by(task, Task) if task is not None else Task(calib=calibration_batches(calib, None))
    return compress(made_by(model, nn.Module), made, passes, checkpoint=checkpoint)


def _converted(graph: Graph, batch: Any) -> Any:
    """A tensor or a tuple of them in the dtypes of the network's inputs (ids as int32 are what NumPy users have)."""
    if not isinstance(batch, tuple):
        return graph.signature[0].converted(batch)
    return tuple(item.converted(x) for item, x in zip(graph.signature, batch, strict=True))


def calibration_batches(file: Path | None, inputs: Sequence[Port] | None) -> list[Any]:
    """Batches of the arrays in an ``.npz`` (or ``.npy``) file, whose first dimension counts the examples.

    ``inputs``: the network's, in order. None: batches of several arrays are dicts by their names, or tuples where
    NumPy named them ("arr_0"). A single array may have any name. Raises InputError.
    """
    import numpy as np
    import torch

    try:
        held = np.load(file, allow_pickle=False)  # type: ignore[arg-type]
        arrays = dict(held) if hasattr(held, "files") else {"": held}
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not an .npz file of arrays: {error}") from error
    by_name = inputs is None and not all(name.startswith("arr_") for name in arrays)
    names = [port.name for port in inputs] if inputs is not None else list(arrays)
    if len(names) != len(arrays) or (len(names) > 1 and set(names) != set(arrays)):
        raise InputError(f"{file} has the arrays {sorted(arrays)}; the network takes {list(names)}")
    ordered = [arrays[name] for name in names] if len(names) > 1 else list(arrays.values())
    rows = {len(array) if array.ndim else 0 for array in ordered}
    if len(rows) != 1 or 0 in rows:
        raise InputError(
            f"{file}: the first dimension of every array counts the examples; they have {sorted(rows)}"
        )
    for name, array in zip(names, ordered, strict=True):
        if array.dtype.kind not in "fiub":
            raise InputError(
                f"{file}: {name or 'the array'} holds {array.dtype}, no numbers that networks take"
            )
        if array.dtype.kind == "f" and np.isnan(array).any():
            example = int(np.argwhere(np.isnan(array))[0][0])
            raise InputError(
                f"{file}: {name or 'the array'} is not a number (NaN) in example {example}: leave it out"
            )
    for port, array in zip(inputs or (), ordered, strict=False):
        _require_shape(file, port, array.shape)
    native = [np.ascontiguousarray(array, array.dtype.newbyteorder("=")) for array in ordered]
    tensors = [torch.from_numpy(array) for array in native]
    parts = zip(*(torch.split(tensor, _CALIBRATION_BATCH) for tensor in tensors), strict=True)
    if len(tensors) == 1:
        return [batch for (batch,) in parts]
    return [dict(zip(names, batch, strict=True)) if by_name else batch for batch in parts]


def _require_shape(file: Path | None, port: Port, given: tuple[int, ...]) -> None:
    """Raise InputError for examples that the network does not take; its own batch size does not matter."""
    if port.shape is None:
        return
    fixed = zip(port.shape[1:], given[1:], strict=False)
    if len(given) != len(port.shape) or any(isinstance(size, int) and size != got for size, got in fixed):
        wanted = ", ".join(str(size) for size in ("examples", *port.shape[1:]))
        raise InputError(f"{file}: input {port.name!r} is {given}; the network takes ({wanted})")


def check_writable(*paths: Path | None) -> None:
    """Before hours of training: whether there is a folder to write each of ``paths`` into. Raises
    ``SaveError``.
    """
    for path in filter(None, paths):
        if not path.absolute().parent.is_dir():
            raise SaveError(f"{path}: there is no folder {path.absolute().parent}; make it first")
        if path.is_dir():
            raise SaveError(f"{path} is a folder; give the name of a file in it")


def as_json(result: Result, file: Path, report: Path | None) -> dict[str, Any]:
    """The stages, each with the size of its file and its metric."""
    return {
        "file": str(file),
        "file_bytes": file.stat().st_size,
        "report": None if report is None else str(report),
        "stages": [
            {
                "name": stage.name,
                "file_bytes": len(stage.data),
                "metric": stage.metric,
                "seconds": stage.seconds,
                "notes": [{"subject": note.subject, "message": note.message} for note in stage.notes],
            }
            for stage in result.stages
        ],
    }


def print_stages(result: Result, file: Path, console: Console) -> None:
    """The stages as a table, then what was noticed on the way."""
    from gossamer import artifact

    rows = []
    for stage in result.stages:
        kept, elements = _parameters(artifact.unpack(stage.data))
        metric = "–" if stage.metric is None else f"{stage.metric:.4f}"
        rows.append(
            [stage.name, metric, percent(kept, elements), count(len(stage.data)), f"{stage.seconds:.0f} s"]
        )
    console.print(table(result.name, ("stage", "metric", "weights kept", "bytes", "time"), rows))
    for note in result.notes:
        console.print(f"{note.subject}: {note.message}", markup=False)
    console.print(f"wrote {file}: {count(file.stat().st_size)} bytes", markup=False)


def _parameters(program: Program) -> tuple[int, int]:
    import math

    from gossamer.measure.file import is_parameter
    from gossamer.weights import nonzeros, shape

    weights = [weight for weight in program.weights.values() if is_parameter(weight)]
    return sum(map(nonzeros, weights)), sum(math.prod(shape(weight)) for weight in weights)
