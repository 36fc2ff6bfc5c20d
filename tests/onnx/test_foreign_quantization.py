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
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from torch import nn

import gossamer as gs
from gossamer import artifact
from gossamer.artifact.program import same
from gossamer.errors import FormatError, UnsupportedError
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


class Branches(nn.Module):
    """Every operator that the format QOperator has a form of in domain com.microsoft."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.gate, self.fc = nn.Conv2d(16, 16, 1), nn.Linear(32, 5)

    def forward(self, x):
        x = nn.functional.leaky_relu(self.stem(x), 0.1)
        y = self.conv(x) * torch.sigmoid(self.gate(nn.functional.adaptive_avg_pool2d(x, 1)))
        y = nn.functional.avg_pool2d(x + y, 2)
        y = torch.cat([y, nn.functional.max_pool2d(x, 2)], 1).mean((2, 3))
        return self.fc(y).softmax(-1)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8], ids=["uint8", "int8"])
def test_integer_operators_of_onnx_runtime_run_alike(per_channel, kind, tmp_path):
    torch.manual_seed(0)
    x = torch.randn(32, 3, 8, 8)
    save(lower(gs.trace(Branches().eval(), x)), tmp_path / "float.onnx")
    batches = [{"x": part.numpy()} for part in torch.split(x, 8)]
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        Reader(batches),
        quant_format=QuantFormat.QOperator,
        weight_type=QuantType.QInt8,
        activation_type=kind,
        per_channel=per_channel,
    )
    held = {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert held >= {
        "QLinearAdd",
        "QLinearMul",
        "QLinearConcat",
        "QLinearSigmoid",
        "QLinearLeakyRelu",
        "QGemm",
    }
    session = onnxruntime.InferenceSession(tmp_path / "int8.onnx", providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"x": x.numpy()})
    packed = artifact.unpack(artifact.pack(load(tmp_path / "int8.onnx")))
    for source in (tmp_path / "int8.onnx", packed):
        found = gs.Engine(source)(x.numpy())
        assert np.abs(found - wanted).max() <= 1.01 / 255
        assert (found != wanted).mean() < 0.1
    save(packed, tmp_path / "again.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "again.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"x": x.numpy()})[0] - wanted).max() <= 1.01 / 255


FLOAT, BYTE, INT32, BOOL = (getattr(onnx.TensorProto, name) for name in ("FLOAT", "UINT8", "INT32", "BOOL"))
_ONE = (["a", "s", "z", "t", "z"], {})
SINGLE = {
    "QLinearAdd": (["a", "s", "z", "b", "t", "z", "t", "z"], {}),
    "QLinearMul": (["a", "s", "z", "b", "t", "z", "t", "z"], {}),
    "QLinearSigmoid": _ONE,
    "QLinearLeakyRelu": (_ONE[0], {"alpha": 0.2}),
    "QLinearAveragePool": (_ONE[0], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "QLinearGlobalAveragePool": _ONE,
    "QLinearSoftmax": (_ONE[0], {"axis": -1, "opset": 17}),
    "QLinearConcat": (["t", "z", "a", "s", "z", "b", "t", "z"], {"axis": 1}),
    "QLinearWhere": (["where", "a", "s", "z", "b", "t", "z", "t", "z"], {}),
    "QGemm": (["m", "s", "z", "w", "each", "zeros", "bias", "t", "z"], {}),
    "QGemm, transposed": (["m", "s", "z", "wt", "each", "zeros", "bias", "t", "z"], {"transB": 1}),
    "QGemm, a float result": (["m", "s", "z", "w", "each", "zeros", "bias"], {}),
    "QGemm, no bias": (["m", "s", "z", "w", "s", "z", "", "t", "z"], {}),
}


def one_operator(op, inputs, attributes, path):
    """A file of a single operator; bytes "a" and "m" are its inputs."""
    rng = np.random.default_rng(0)
    held = {
        "s": (FLOAT, np.float32(0.03)),
        "t": (FLOAT, np.float32(0.05)),
        "z": (BYTE, np.uint8(120)),
        "b": (BYTE, rng.integers(0, 256, (2, 6, 4, 4))),
        "where": (BOOL, rng.integers(0, 2, (2, 6, 4, 4))),
        "w": (BYTE, weight := rng.integers(0, 256, (6, 5))),
        "wt": (BYTE, weight.T),
        "each": (FLOAT, np.linspace(0.01, 0.03, 5, dtype=np.float32)),
        "zeros": (BYTE, np.arange(118, 123)),
        "bias": (INT32, rng.integers(-900, 900, 5)),
    }
    constants = [
        onnx.helper.make_tensor(name, held[name][0], np.shape(held[name][1]), np.ravel(held[name][1]))
        for name in dict.fromkeys(inputs)
        if name in held
    ]
    shapes = {"a": [2, 6, 4, 4], "m": [3, 6]}
    given = [onnx.helper.make_tensor_value_info(n, BYTE, shapes[n]) for n in inputs if n in shapes]
    kind = FLOAT if op == "QGemm" and len(inputs) < 8 else BYTE
    node = onnx.helper.make_node(op, inputs, ["y"], domain="com.microsoft", **attributes)
    result = onnx.helper.make_tensor_value_info("y", kind, None)
    graph = onnx.helper.make_graph([node], "net", given, [result], constants)
    sets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=sets, ir_version=9), path)
    return {n: rng.integers(0, 256, shapes[n]).astype(np.uint8) for n in inputs if n in shapes}


@pytest.mark.parametrize("name", SINGLE)
def test_each_integer_operator(name, tmp_path):
    path, (inputs, attributes) = tmp_path / "net.onnx", SINGLE[name]
    feeds = one_operator(name.partition(",")[0], inputs, attributes, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, feeds)
    for source in (path, artifact.unpack(artifact.pack(load(path)))):
        found = gs.Engine(source)(**feeds)
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        if found.dtype == np.float32:
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        else:  # halves go another way in some of theirs (docs/numerics.md)
            difference = np.abs(found.astype(int) - wanted)
            assert difference.max() <= 1 and (difference > 0).mean() < 0.1


def test_a_product_with_a_factor_stays_unread(tmp_path):
    """QGemm has one that no quantizer writes; its bias would be in other steps."""
    inputs, _ = SINGLE["QGemm"]
    one_operator("QGemm", inputs, {"alpha": 0.5}, tmp_path / "net.onnx")
    with pytest.raises(UnsupportedError, match="QGemm"):
        gs.Engine(tmp_path / "net.onnx")


def products_of_few_bits(tmp_path, bits, symmetric, dtype="float32"):
    """A file of MatMulNBits with a bias behind it, written by ONNX Runtime; rows are no multiple of a block."""
    text = f"""<ir_version: 10, opset_import: ["": 21]>
    net ({dtype.replace("32", "")}[batch, 100] x) => ({dtype.replace("32", "")}[batch, 24] y) {{
      h = MatMul(x, first)
      r = Relu(h)
      s = MatMul(r, second)
      y = Add(s, bias)
    }}"""
    rng, model = np.random.default_rng(0), onnx.parser.parse_model(text)
    shapes = {"first": (100, 40), "second": (40, 24), "bias": (24,)}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape).astype(dtype) / 8
        if len(shape) == 2:
            values[:33, 0] = 0  # a block of zeros, whose scale is zero
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    quantizer = MatMulNBitsQuantizer(
        model, bits=bits, block_size=32, is_symmetric=symmetric, accuracy_level=1
    )
    quantizer.process()
    path = tmp_path / "net.onnx"
    quantizer.model.save_model_to_file(str(path))
    return path, rng.standard_normal((5, 100)).astype(dtype)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_products_with_weights_of_few_bits(tmp_path, bits, symmetric):
    path, x = products_of_few_bits(tmp_path, bits, symmetric)
    assert [n.op_type for n in onnx.load(path).graph.node].count("MatMulNBits") == 2
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_allclose(gs.Engine(path)(x), wanted, rtol=1e-5, atol=1e-5)
    program = load(path)
    assert sorted(type(w).__name__ for w in program.weights.values()) == ["Dense", "Quantized", "Quantized"]
    artifact.write(program, tmp_path / "net.goss")
    save(program, tmp_path / "again.onnx")
    for again in ("net.goss", "again.onnx"):
        np.testing.assert_array_equal(gs.Engine(tmp_path / again)(x), gs.Engine(path)(x))


def test_products_of_halves_with_weights_of_few_bits(tmp_path):
    path, x = products_of_few_bits(tmp_path, 4, True, "float16")
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    found = gs.Engine(path)(x)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=2e-2)


def test_a_product_whose_sizes_contradict_is_named(tmp_path):
    path, _ = products_of_few_bits(tmp_path, 4, True)
    model = onnx.load(path)
    node = next(n for n in model.graph.node if n.op_type == "MatMulNBits")
    next(a for a in node.attribute if a.name == "N").i += 1
    onnx.save(model, path)
    for read in (gs.Engine, load):
        with pytest.raises(FormatError, match=r"MatMulNBits.*has \d+ elements; K=100, N=41"):
            read(path)
