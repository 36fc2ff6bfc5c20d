"""What an ONNX file's bytes are spent on, in the same terms as a ``.goss`` file's. Needs the package onnx."""

from __future__ import annotations

import math
from pathlib import Path

from onnx import ModelProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from gossamer.artifact import Description, WeightBytes
from gossamer.onnx import load
from gossamer.weights import decode, nonzeros, representation, shape


def describe_onnx(path: Path) -> Description:
    """The bytes of an ``.onnx`` file and of the files beside it that hold its weights; raises as
    ``onnx.load``.

    ONNX stores plain numbers: bits are those of the stored type, and there is no coding after them.
    """
    program = load(path)
    model = ModelProto()
    model.ParseFromString(path.read_bytes())
    stored = _stored_bytes(model)
    rows = []
    for name, weight in program.weights.items():
        rows.append(
            WeightBytes(
                name=name,
                shape=shape(weight),
                representation=representation(weight),
                coder="plain",
                elements=math.prod(shape(weight)),
                kept=nonzeros(weight),
                weight_bits=8.0 * _element_bytes(model, name, decode(weight).itemsize),
                weight_bits_coded=None,
                index_bits=None,
                index_bits_coded=None,
                table_bytes=0,
                bytes=stored.get(name, 0),
            )
        )
    beside = sum(_external_bytes(tensor) for tensor in model.graph.initializer)
    total = path.stat().st_size + beside
    return Description(total, total - sum(row.bytes for row in rows), tuple(rows), program)


def _stored_bytes(model: ModelProto) -> dict[str, int]:
    """Bytes by the name of the weight: of its tensor, or of all tensors behind its DequantizeLinear."""
    sizes = {tensor.name: tensor.ByteSize() + _external_bytes(tensor) for tensor in model.graph.initializer}
    sizes |= {sparse.values.name: sparse.ByteSize() for sparse in model.graph.sparse_initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            sizes[node.output[0]] = node.attribute[0].ByteSize()
        elif node.op_type == "DequantizeLinear" and node.input[0] in sizes:
            sizes[node.output[0]] = sum(sizes.get(name, 0) for name in node.input)
    return sizes


def _element_bytes(model: ModelProto, name: str, default: int) -> float:
    """Width of the stored type: that of the integers where the weight is quantized."""
    dequantized = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    source = dequantized.get(name, name)
    tensor = next((t for t in model.graph.initializer if t.name == source), None)
    return default if tensor is None else _WIDTHS.get(tensor.data_type, default)


_WIDTHS = {
    TensorProto.INT4: 0.5,
    TensorProto.UINT4: 0.5,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.INT16: 2,
    TensorProto.UINT16: 2,
}


def _external_bytes(tensor: TensorProto) -> int:
    if not uses_external_data(tensor):
        return 0
    return int(ExternalDataInfo(tensor).length or 0)
