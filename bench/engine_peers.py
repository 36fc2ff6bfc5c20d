"""Who races on a workload, and in which form: each runtime gets the file that its own tools make of the network.

Conversions run once, in the interpreter that has the peer's tools; what fails is remembered with its reason beside the
files, so that the page can name it. Delete bench/out/engine to try again.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from engine_convert import FORMS, form_path
from engine_files import Variant, onnx_file

import gossamer
from gossamer.measure import (
    DeepSparse,
    ExecuTorch,
    Gossamer,
    LiteRt,
    OnnxRuntime,
    OpenVino,
    OpenVinoSparse,
    PeakBytes,
    PeakFloats,
    Runner,
    Runtime,
    TorchCompiled,
    TorchEager,
)
from gossamer.measure.runtimes import interpreter_with

BENCH = Path(__file__).parent
MINUTES = 10  # for one conversion


@dataclass(frozen=True)
class Entry:
    """How a runtime takes part: from which form (of FORMS; None: the common ONNX file), on which variants."""

    label: str
    runtime: type[Runtime]
    form: str | None
    applies: Callable[[Variant], bool] = lambda variant: True


def _int8(variant: Variant) -> bool:
    return variant.precision == "int8"


def _dense_float(variant: Variant) -> bool:
    return variant.precision == "fp32" and variant.sparsity is None


def _dense(variant: Variant) -> bool:
    return variant.sparsity is None


# Zeros change the speed of OpenVINO's sparse option, DeepSparse and ours alone; the others' dense figures stand for
# them, and ONNX Runtime and OpenVINO run along to show it.
ENTRIES = (
    Entry("onnxruntime", OnnxRuntime, None),
    Entry("onnxruntime dynamic", OnnxRuntime, "dynamic", lambda v: _int8(v) and v.network.tokens),
    Entry("openvino", OpenVino, None),
    Entry("openvino nncf", OpenVino, "openvino", _int8),
    Entry("openvino nncf sparse", OpenVinoSparse, "openvino", lambda v: _int8(v) and v.sparsity is not None),
    Entry("litert", LiteRt, "litert", _dense),
    Entry("litert dynamic", LiteRt, "litert-dynamic", lambda v: _int8(v) and _dense(v) and v.network.tokens),
    Entry("executorch", ExecuTorch, "executorch", _dense),
    Entry("deepsparse", DeepSparse, None, lambda v: not _int8(v)),
    Entry("deepsparse", DeepSparse, "integers", _int8),
    Entry("torch eager", TorchEager, "torch", _dense_float),
    Entry("torch compiled", TorchCompiled, "torch", _dense_float),
)
OURS = "gossamer"


@dataclass
class Field:
    """Those who race, and those who do not, with the reason."""

    runners: list[Runner] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)


def field_of(variant: Variant, folder: Path, leave_out: Sequence[str] = ()) -> Field:
    """Ours, the machine's peak, and every peer that can take the variant."""
    inputs = (variant.inputs(),)
    file = onnx_file(variant, folder)
    peak = PeakBytes if _int8(variant) else PeakFloats
    found = Field([Runner(peak, file, inputs), Runner(Gossamer, file, inputs, OURS)])
    for entry in ENTRIES:
        if not entry.applies(variant):
            continue
        if entry.label in leave_out:
            found.absent[entry.label] = "left out of this run"
            continue
        if not entry.runtime.installed():
            found.absent[entry.label] = "not installed"
            continue
        try:
            path = file if entry.form is None else converted(variant, entry.form, folder)
        except RuntimeError as error:
            found.absent[entry.label] = str(error)
        else:
            found.runners.append(Runner(entry.runtime, path, inputs, entry.label))
    return found


def converted(variant: Variant, form: str, folder: Path) -> Path:
    """The variant in a peer's form, made where it is not there yet. Raises RuntimeError with the reason."""
    path = form_path(form, variant.stem, folder)
    failed = folder / f"{variant.stem}.{form}.failed"
    if not path.exists() and not failed.exists():
        onnx_file(variant, folder)  # and with it the float file, which the tools start from
        reason = _convert(variant, form, folder)
        if not path.exists():
            failed.write_text(reason, encoding="utf-8")
    if failed.exists():
        raise RuntimeError(failed.read_text(encoding="utf-8"))
    return path


def _convert(variant: Variant, form: str, folder: Path) -> str:
    """Run engine_convert.py where the form's tools are; why it failed, or nothing."""
    package = FORMS[form].package
    python = interpreter_with(package)
    if python is None:
        return f"{package}, which converts it, is not installed"
    packages = [str(Path(gossamer.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [python, str(BENCH / "engine_convert.py"), form, variant.stem, str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(packages)}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60 * MINUTES, check=False
        )
    except subprocess.TimeoutExpired:
        return f"its converter took more than {MINUTES} minutes"
    lines = [line.strip() for line in done.stderr.splitlines() if "Error" in line or "error:" in line]
    return "" if done.returncode == 0 else (lines or ["its converter failed without a word"])[-1][:300]


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
