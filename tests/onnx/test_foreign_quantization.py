"""Files that ONNX Runtime's own quantizer wrote: the Engine runs them as ONNX Runtime does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from torch import nn

import gossamer as gs
from gossamer import artifact
from gossamer.artifact.program import same
from gossamer.onnx import load, lower, save


class Classifier(nn.Module):
    """Convolutions with a residual sum and a linear layer: what static quantizers place their nodes between."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 16, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.conv(x) + x)
        return self.fc(nn.functional.max_pool2d(x, 2).flatten(1))


class Reader(CalibrationDataReader):
    def __init__(self, batches):
        self.batches = iter(batches)

    def get_next(self):
        return next(self.batches, None)


def static(**options):
    def quantize(source, target, batches):
        quantize_static(source, target, Reader(batches), quant_format=QuantFormat.QDQ, **options)

    return quantize


def in_16_bits(source, target, batches):
    """In the operator set of the float file, which has them in domain com.microsoft alone."""
    static(
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt16,
        extra_options={"UseQDQContribOps": True},
    )(source, target, batches)
    model = onnx.load(target)
    for entry in model.opset_import:
        if not entry.domain:
            entry.version = onnx.load(source).opset_import[0].version
    onnx.save(model, target)


WIDE = {
    "weights of 4 bits": static(weight_type=QuantType.QInt4, activation_type=QuantType.QUInt8),
    "activations of 16 bits": in_16_bits,
}
QUANTIZERS = {
    **WIDE,
    "bytes, per channel": static(
        per_channel=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8
    ),
    "bytes, per tensor": static(weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8),
    "signed activations": static(weight_type=QuantType.QInt8, activation_type=QuantType.QInt8),
    "dynamic": lambda source, target, batches: quantize_dynamic(source, target, weight_type=QuantType.QUInt8),
}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_what_onnx_runtime_quantized_runs_alike(name, tmp_path):
    torch.manual_seed(0)
    x = torch.randn(32, 3, 8, 8)
    save(lower(gs.trace(Classifier().eval(), x)), tmp_path / "float.onnx")
    batches = [{"x": part.numpy()} for part in torch.split(x, 8)]
    QUANTIZERS[name](tmp_path / "float.onnx", tmp_path / "int8.onnx", batches)
    session = onnxruntime.InferenceSession(tmp_path / "int8.onnx", providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"x": x.numpy()})
    step = (wanted.max() - wanted.min()) / 255
    packed = artifact.unpack(artifact.pack(load(tmp_path / "int8.onnx")))
    for source in (tmp_path / "int8.onnx", packed):
        found = gs.Engine(source)(x.numpy())
        assert np.abs(found - wanted).max() <= step
    microsofts = {node.domain for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert ("com.microsoft" in microsofts) == (name in WIDE)
    save(packed, tmp_path / "again.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "again.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"x": x.numpy()})[0] - wanted).max() <= step
    assert same(load(tmp_path / "again.onnx"), packed)
