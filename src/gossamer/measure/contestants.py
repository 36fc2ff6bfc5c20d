"""From networks and files to runners: which runtimes can run them, in which form, on which inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gossamer import artifact
from gossamer.artifact import Program
from gossamer.errors import FormatError, UnsupportedError
from gossamer.measure.file import naming
from gossamer.measure.runtimes import (
    Arrays,
    Gossamer,
    OnnxRuntime,
    OpenVino,
    Runtime,
    TorchCompiled,
    TorchEager,
)
from gossamer.measure.shapes import input_shapes
from gossamer.measure.worker import Runner

if TYPE_CHECKING:
    from torch import nn

_ONNX_RUNTIMES: tuple[type[Runtime], ...] = (OnnxRuntime, OpenVino)


def file_runners(
    path: Path,
    folder: Path,
    *,
    batch: int = 1,
    sizes: Mapping[str, int] | None = None,
    seed: int = 0,
    compiled: bool = False,
) -> list[Runner]:
    """Every installed runtime that can run the ``.goss``, ``.onnx`` or ``.pt2`` file at ``path``.

    What has to be converted for a runtime is written into ``folder``. Inputs are made up from ``seed``:
    networks of equal input shapes get equal inputs. ``sizes``: dimensions chosen at run time, by name.
    ``compiled``: torch.compile too. Raises ``FormatError`` for other files and for damaged ones,
    ``InputError`` as ``input_shapes`` does.
    """
    with naming(path):
        return _file_runners(path, folder, batch, sizes, seed, compiled)


def _file_runners(
    path: Path, folder: Path, batch: int, sizes: Mapping[str, int] | None, seed: int, compiled: bool
) -> list[Runner]:
    if path.suffix == ".pt2":
        inputs = _torch_inputs(path, batch, seed)
        eager = Runner(TorchEager, path, inputs)
        return [eager, Runner(TorchCompiled, path, inputs)] if compiled else [eager]
    if path.suffix == ".onnx":
        return _onnx_file_runners(path, folder, batch, sizes, seed)
    if path.suffix != ".goss":
        raise UnsupportedError(f"{path}: which runtime runs it is told by its name: .goss, .onnx or .pt2")
    program = artifact.read(path)
    inputs = made_up_inputs(program, batch, sizes, seed)
    exported = onnx_runners(program, folder / f"{path.stem}.onnx", inputs)
    return [Runner(Gossamer, path, inputs), *exported]


def _onnx_file_runners(
    path: Path, folder: Path, batch: int, sizes: Mapping[str, int] | None, seed: int
) -> list[Runner]:
    from gossamer import onnx

    program = onnx.load(path)
    inputs = made_up_inputs(program, batch, sizes, seed)
    packed = folder / f"{path.stem}.goss"
    artifact.write(onnx.simplify(program), packed)
    installed = [runtime for runtime in _ONNX_RUNTIMES if runtime.installed()]
    return [Runner(runtime, path, inputs) for runtime in installed] + [Runner(Gossamer, packed, inputs)]


def onnx_runners(program: Program, path: Path, inputs: Arrays) -> list[Runner]:
    """``program`` written as ONNX to ``path``, in every installed runtime that runs ONNX; none, and nothing
    written, where there is none. Raises ``UnsupportedError`` where the program has no ONNX form.
    """
    installed = [runtime for runtime in _ONNX_RUNTIMES if runtime.installed()]
    if installed:
        from gossamer import onnx

        onnx.save(program, path)
    return [Runner(runtime, path, inputs) for runtime in installed]


def save_torch(module: nn.Module, inputs: Arrays, path: Path) -> None:
    """Write ``module``, in eval mode and without its weight transforms' cost, for torch to run on such
    ``inputs``.

    Raises ``UnsupportedError`` where torch cannot export it.
    """
    import copy
    import warnings

    import torch
    from torch.nn.utils import parametrize

    plain = copy.deepcopy(module).cpu().eval()
    for owner in plain.modules():
        for name in list(getattr(owner, "parametrizations", {})):
            parametrize.remove_parametrizations(owner, name, leave_parametrized=True)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own deprecations, inside torch
            torch.export.save(torch.export.export(plain, tuple(map(torch.from_numpy, inputs))), path)
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UnsupportedError(f"torch.export cannot export it: {reason}") from error


def first_examples(example: Any, program: Program, batch: int) -> Arrays:
    """The first ``batch`` examples of a batch as a Task gives it, in the order of the program's inputs."""
    from gossamer._nested import leaves, slice_batch, to_arrays

    names = [port.name for port in program.inputs]
    if isinstance(example, Mapping) and set(names) <= set(example):
        example = tuple(example[name] for name in names)
    return tuple(np.ascontiguousarray(x) for x in leaves(to_arrays(slice_batch(example, 0, batch))))


def made_up_inputs(program: Program, batch: int, sizes: Mapping[str, int] | None, seed: int) -> Arrays:
    """Inputs for a network of which nothing is known: standard normal numbers; integers and booleans are 0
    or 1.
    """
    shapes = input_shapes(program, batch, sizes)
    rng = np.random.default_rng(seed)
    return tuple(_random(rng, shapes[port.name], np.dtype(port.dtype)) for port in program.inputs)


def _random(rng: np.random.Generator, shape: tuple[int, ...], kind: np.dtype[Any]) -> npt.NDArray[np.generic]:
    if np.issubdtype(kind, np.floating):
        return rng.standard_normal(math.prod(shape)).reshape(shape).astype(kind)
    return rng.integers(0, 2, shape).astype(kind)


def _torch_inputs(path: Path, batch: int, seed: int) -> Arrays:
    import torch

    try:
        program = torch.export.load(path)
    except Exception as error:
        raise FormatError(f"{path}: torch.export cannot read it: {error}") from error
    names = program.graph_signature.user_inputs
    nodes = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    rng = np.random.default_rng(seed)
    inputs = []
    for value in (nodes[name] for name in names if isinstance(name, str)):
        shape = tuple(n if isinstance(n, int) else batch for n in value.shape)
        inputs.append(_random(rng, shape, np.dtype(str(value.dtype).removeprefix("torch."))))
    return tuple(inputs)
