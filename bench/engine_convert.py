"""A variant in the form of one peer: ``python bench/engine_convert.py FORM VARIANT FOLDER``, run by the peer's Python.

Each runtime gets the int8 network that its own tools make of the float one, with the same weights, zeros and random
inputs for the ranges.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from engine_files import CALIBRATION, Variant, onnx_file


def calibration(variant: Variant) -> list[Any]:
    """The inputs that ranges are taken from."""
    return [variant.inputs(100 + seed) for seed in range(CALIBRATION)]


def openvino_int8(variant: Variant, onnx: Path, path: Path) -> None:
    """NNCF's post-training quantization."""
    import nncf
    import openvino

    model = openvino.Core().read_model(onnx)
    kind = nncf.ModelType.TRANSFORMER if variant.network.tokens else None
    quantized = nncf.quantize(
        model, nncf.Dataset(calibration(variant)), subset_size=CALIBRATION, model_type=kind
    )
    openvino.save_model(quantized, path, compress_to_fp16=False)


def litert(variant: Variant, onnx: Path, path: Path) -> None:
    """litert-torch for float32; int8 by AI Edge's quantizer: static, weights per channel, activations int8."""
    if variant.precision == "fp32":
        _litert_float(variant, path)
        return
    from ai_edge_quantizer import qtyping, recipe

    def quantize(tool: Any, name: str) -> Any:
        for end in (
            qtyping.TFLOperationName.INPUT,
            qtyping.TFLOperationName.OUTPUT,
        ):  # float at both ends, as for all
            tool.update_quantization_recipe(".*", end, algorithm_key="no_quantize")
        return tool.calibrate({"serving_default": [{name: x} for x in calibration(variant)]})

    _litert_quantized(variant, path, recipe.static_wi8_ai8(), quantize)


def litert_dynamic(variant: Variant, onnx: Path, path: Path) -> None:
    """The same quantizer, dynamic: the ranges of activations are found while running."""
    from ai_edge_quantizer import recipe

    _litert_quantized(variant, path, recipe.dynamic_wi8_afp32(), lambda tool, name: None)


def _litert_float(variant: Variant, path: Path) -> None:
    import litert_torch

    litert_torch.convert(variant.module(), (torch.from_numpy(variant.inputs()),)).export(str(path))


def _litert_quantized(variant: Variant, path: Path, recipe: Any, ranges: Callable[[Any, str], Any]) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer

    floating = path.with_suffix(".float")
    _litert_float(variant, floating)
    tool = quantizer.Quantizer(str(floating), recipe)
    (name,) = Interpreter(str(floating)).get_signature_runner("serving_default").get_input_details()
    tool.quantize(ranges(tool, name)).export_model(str(path))
    floating.unlink()


def executorch(variant: Variant, onnx: Path, path: Path) -> None:
    """Lowered to XNNPACK; int8 by its quantizer: static, weights per channel."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    example = (torch.from_numpy(variant.inputs()),)
    module = torch.export.export(variant.module(), example).module()
    if variant.precision == "int8":
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        module = prepare_pt2e(module, quantizer)
        for inputs in calibration(variant):
            module(torch.from_numpy(inputs))
        module = convert_pt2e(module)
    exported = torch.export.export(module, example)
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(program.buffer)


def torch_file(variant: Variant, onnx: Path, path: Path) -> None:
    """torch.export's own format, for torch itself."""
    from gossamer.measure.contestants import save_torch

    save_torch(variant.module(), (variant.inputs(),), path)


def integers(variant: Variant, onnx: Path, path: Path) -> None:
    """Integer products between float operators, for DeepSparse."""
    from engine_integers import to_integers

    to_integers(onnx, path, calibration(variant))


def dynamic(variant: Variant, onnx: Path, path: Path) -> None:
    """ONNX Runtime's dynamic quantization: the ranges of activations are found while running."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        onnx, path, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"]
    )


@dataclass(frozen=True)
class Form:
    """A form of a variant: the function that writes it, its file's suffix, and the package that has the tools."""

    convert: Callable[[Variant, Path, Path], None]
    suffix: str
    package: str


FORMS = {
    "openvino": Form(openvino_int8, ".xml", "nncf"),
    "litert": Form(litert, ".tflite", "litert_torch"),
    "litert-dynamic": Form(litert_dynamic, ".tflite", "litert_torch"),
    "executorch": Form(executorch, ".pte", "executorch"),
    "torch": Form(torch_file, ".pt2", "torch"),
    "integers": Form(integers, ".onnx", "onnxruntime"),
    "dynamic": Form(dynamic, ".onnx", "onnxruntime"),
}


def form_path(form: str, stem: str, folder: Path) -> Path:
    """Where the variant called ``stem`` lies in a form."""
    return folder / f"{stem}.{form}{FORMS[form].suffix}"


def main(form: str, stem: str, folder: Path) -> None:
    """Write the variant called ``stem`` (Variant.stem) in ``folder``."""
    variant, path = Variant.parse(stem), form_path(form, stem, folder)
    floating = onnx_file(replace(variant, precision="fp32"), folder)
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        FORMS[form].convert(variant, floating, Path(partial) / path.name)
        # The file itself last: OpenVINO writes a second one beside it, and what exists is taken for whole.
        for made in sorted(Path(partial).iterdir(), key=lambda made: made.name == path.name):
            made.replace(folder / made.name)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
