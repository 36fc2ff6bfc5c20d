"""``gossamer compress``: a model and a task from the user's code, a recipe from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gossamer.cli.objects import made_by
from gossamer.cli.output import count, percent, table
from gossamer.errors import InputError, SaveError, UnsupportedError

if TYPE_CHECKING:
    from gossamer.artifact import Program
    from gossamer.result import Result


def run_compress(model: str, task: str | None, recipe: Path, checkpoint: Path | None, seed: int) -> Result:
    """Import, load, compress. Everything that can be wrong without training is looked at first."""
    if model.endswith(".onnx"):
        raise UnsupportedError(
            f"{model}: compressing an ONNX file comes with post-training quantization, which is not there yet; "
            "give the PyTorch model as package.module:build"
        )
    if task is None:
        raise InputError("a model from Python needs its task: --task package.module:task")
    import torch
    from torch import nn

    from gossamer import Task, compress, load_recipe

    passes = load_recipe(recipe)
    torch.manual_seed(seed)
    return compress(made_by(model, nn.Module), made_by(task, Task), passes, checkpoint=checkpoint)


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
