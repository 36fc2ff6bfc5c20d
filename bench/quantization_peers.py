"""Quantize an ONNX file with another tool, in its interpreter: ``TOOL model.onnx calib.npz test.npz out.npz``.

Writes the outputs on the test inputs as float32, the seconds that quantizing took, and the peak memory of the process
beyond what it had after importing. Tools: ``onnxruntime`` (static, QDQ), ``nncf`` (run by OpenVINO), ``torchao`` (PT2E;
``model`` is a torch.export file).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[Any], Any]


def onnxruntime_static(model: str, calib: dict[str, Any]) -> Run:
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(range(len(next(iter(calib.values())))))

        def get_next(self) -> Any:
            row = next(self.rows, None)
            return None if row is None else {name: array[row : row + 1] for name, array in calib.items()}

    out, prepared = str(Path(model).with_suffix(".ort.onnx")), str(Path(model).with_suffix(".pre.onnx"))
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)[0]


def nncf_openvino(model: str, calib: dict[str, Any]) -> Run:
    import nncf
    import openvino

    core = openvino.Core()
    rows = [
        {name: array[i : i + 1] for name, array in calib.items()}
        for i in range(len(next(iter(calib.values()))))
    ]
    kind = nncf.ModelType.TRANSFORMER if len(calib) > 1 else None
    quantized = nncf.quantize(
        core.read_model(model), nncf.Dataset(rows), subset_size=len(rows), model_type=kind
    )
    compiled = core.compile_model(quantized, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: compiled(inputs)[0]


def torchao_pt2e(model: str, calib: dict[str, Any]) -> Run:
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    module = torch.export.load(model).module()
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    module = prepare_pt2e(module, quantizer)
    arrays = list(calib.values())
    with torch.no_grad():
        for i in range(len(arrays[0])):
            module(*(torch.from_numpy(array[i : i + 1]) for array in arrays))
    module = convert_pt2e(module)
    return lambda inputs: module(*(torch.from_numpy(x) for x in inputs.values())).detach().numpy()


TOOLS = {"onnxruntime": onnxruntime_static, "nncf": nncf_openvino, "torchao": torchao_pt2e}
_PACKAGES = {
    "onnxruntime": ["onnxruntime.quantization"],
    "nncf": ["nncf", "openvino"],
    "torchao": ["torchao"],
}


class PeakMemory:
    """What a stretch of a process's life needs beyond what it held before. On Linux, whose peak it sets back."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = self._kilobytes("VmRSS")

    def megabytes(self) -> float:
        """So far."""
        return (self._kilobytes("VmHWM") - self._before) / 1024

    @staticmethod
    def _kilobytes(key: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key))


def main(tool: str, model: str, calib: str, test: str, out: str) -> None:
    for name in _PACKAGES[tool]:
        __import__(name)
    inputs, tests = dict(np.load(calib)), dict(np.load(test))
    memory = PeakMemory()
    began = time.perf_counter()
    run = TOOLS[tool](model, inputs)
    seconds = time.perf_counter() - began
    megabytes = memory.megabytes()
    count = len(next(iter(tests.values())))
    outputs = [run({name: array[i : i + 1] for name, array in tests.items()}) for i in range(count)]
    np.savez(out, outputs=np.concatenate(outputs), seconds=seconds, megabytes=megabytes)


if __name__ == "__main__":
    main(*sys.argv[1:])
