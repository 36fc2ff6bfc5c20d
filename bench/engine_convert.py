"""A variant in the form of one peer: ``python bench/engine_convert.py FORM VARIANT FOLDER``, run by the peer's Python.

Each runtime gets the int8 network that its own tools make of the float one, with the same weights, zeros and random
inputs for the ranges.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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
    import litert_torch

    example = torch.from_numpy(variant.inputs())
    model = litert_torch.convert(variant.module(), (example,))
    if variant.precision == "fp32":
        model.export(str(path))
        return
    from ai_edge_quantizer import qtyping, quantizer, recipe

    floating = path.with_suffix(".float")
    try:
        model.export(str(floating))
        tool = quantizer.Quantizer(str(floating), recipe.static_wi8_ai8())
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):  # float at both ends, as for all
            tool.update_quantization_recipe(".*", end, algorithm_key="no_quantize")
        name = next(iter(tool_inputs(floating)))
        ranges = tool.calibrate({"serving_default": [{name: x} for x in calibration(variant)]})
        tool.quantize(ranges).export_model(str(path))
    finally:
        floating.unlink(missing_ok=True)


def tool_inputs(path: Path) -> list[str]:
    """The input names of the file's only signature."""
    from ai_edge_litert.interpreter import Interpreter

    return list(Interpreter(str(path)).get_signature_runner("serving_default").get_input_details())


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


FORMS: dict[str, tuple[Callable[[Variant, Path, Path], None], str]] = {
    "openvino": (openvino_int8, ".xml"),
    "litert": (litert, ".tflite"),
    "executorch": (executorch, ".pte"),
    "torch": (torch_file, ".pt2"),
}


def main(form: str, stem: str, folder: Path) -> None:
    """Write the variant called ``stem`` (Variant.stem) in ``folder``."""
    convert, suffix = FORMS[form]
    variant = Variant.parse(stem)
    path = folder / f"{stem}{suffix}"
    partial = folder / f".{stem}{suffix}"
    np.random.seed(0)
    convert(variant, onnx_file(Variant(variant.network, "fp32", variant.sparsity, variant.batch), folder), partial)
    for made in folder.glob(f".{stem}.*"):  # OpenVINO writes a second file beside the first
        made.replace(path.with_suffix(made.suffix))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
