"""The ONNX files that are raced, made once: a network in float32 or int8, dense or sparse, for one batch size.

int8 is static quantization by ONNX Runtime's own quantizer in QDQ form: activations uint8 per tensor, weights int8 per
channel and symmetric, ranges from random inputs. The float weights are pruned first, so that every runtime sees the
same zeros. Shapes are fixed, which every runtime plans best for.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from engine_networks import NETWORKS, Network
from engine_sparsity import Sparsity, sparsify
from torch import nn

OPSET = 17
CALIBRATION = 4  # batches
_STEM = re.compile(
    r"(?P<name>.+)-(?P<precision>fp32|int8)(-z(?P<zeros>\d+)x(?P<rows>\d))?(-b(?P<batch>\d+))?"
)


@dataclass(frozen=True)
class Variant:
    """A network in one precision ("fp32" or "int8"), with zeros or without, for one batch size."""

    network: Network
    precision: str = "fp32"
    sparsity: Sparsity | None = None
    batch: int = 1

    @property
    def stem(self) -> str:
        """The file's name without suffix."""
        zeros = f"-z{100 * self.sparsity.zeros:.0f}x{self.sparsity.rows}" if self.sparsity else ""
        batch = f"-b{self.batch}" if self.batch > 1 else ""
        return f"{self.network.name}-{self.precision}{zeros}{batch}"

    @classmethod
    def parse(cls, stem: str) -> Variant:
        """The variant whose :attr:`stem` it is."""
        found = _STEM.fullmatch(stem)
        network = next((n for n in NETWORKS if found and n.name == found["name"]), None)
        if found is None or network is None:
            raise ValueError(
                f"{stem!r} is no variant: write NETWORK-fp32|int8[-z<percent>x<rows>][-b<batch>]"
            )
        sparsity = Sparsity(int(found["zeros"]) / 100, int(found["rows"])) if found["zeros"] else None
        return cls(network, found["precision"], sparsity, int(found["batch"] or 1))

    def module(self) -> nn.Module:
        """The float network with its zeros."""
        module = self.network.module()
        if self.sparsity is not None and not sparsify(module, self.sparsity):
            raise ValueError(
                f"{self.network.name} has no layer that blocks of 1x4 over {self.sparsity.rows} rows divide"
            )
        return module

    def inputs(self, seed: int = 1) -> npt.NDArray[np.generic]:
        return self.network.inputs(self.batch, seed)


def onnx_file(variant: Variant, folder: Path) -> Path:
    """The variant as ONNX in ``folder``, made where it is not there yet."""
    path = folder / f"{variant.stem}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{variant.stem}.{os.getpid()}.onnx"
        try:
            if variant.precision == "fp32":
                _export(variant, partial)
            else:
                _quantize(variant, onnx_file(replace(variant, precision="fp32"), folder), partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def _export(variant: Variant, path: Path) -> None:
    """By torch's older exporter: the newer one writes operator sets that DeepSparse cannot read."""
    example = torch.from_numpy(variant.inputs())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations
        torch.onnx.export(
            variant.module(), (example,), path, opset_version=OPSET, dynamo=False, input_names=["x"], output_names=["y"]
        )  # fmt: skip


def _quantize(variant: Variant, source: Path, path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[int] = iter(range(CALIBRATION))

        def get_next(self) -> dict[str, npt.NDArray[np.generic]] | None:
            seed = next(self.batches, None)
            return None if seed is None else {"x": variant.inputs(100 + seed)}

    prepared = path.with_suffix(".prepared")
    try:
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # A transformer's norms, softmax and GELU stay in floating point, as its users have it.
            op_types_to_quantize=["MatMul", "Gemm"] if variant.network.tokens else None,
            extra_options={"ActivationSymmetric": False},
        )
    finally:
        prepared.unlink(missing_ok=True)
