"""Inputs, outputs and values of a graph: name, element type and shape, from ONNX and to ONNX."""

from __future__ import annotations

import onnx
from onnx import ValueInfoProto, helper

from gossamer.artifact.program import Port, Size
from gossamer.errors import FormatError, UnsupportedError

from . import tensors


def port(value: ValueInfoProto, kind: str) -> Port:
    """A tensor's declaration; ``kind`` ("input") names it in messages. FormatError, UnsupportedError."""
    where = f"{kind} {value.name!r}"
    form = value.type.WhichOneof("value")
    if form is None:
        raise FormatError(f"{where} has no type")
    if form != "tensor_type":
        raise UnsupportedError(f"{where} is a {form.removesuffix('_type')}; only tensors are supported")
    tensor = value.type.tensor_type
    dtype = tensors.dtype_name(tensor.elem_type, where)
    if not tensor.HasField("shape"):
        return Port(value.name, dtype, None)
    return Port(value.name, dtype, tuple(_size(dimension, where) for dimension in tensor.shape.dim))


def value_info(declared: Port) -> ValueInfoProto:
    """The inverse of :func:`port`."""
    kind = tensors.element_type(declared.dtype, declared.name)
    return helper.make_tensor_value_info(declared.name, kind, declared.shape)


def _size(dimension: onnx.TensorShapeProto.Dimension, where: str) -> Size:
    if dimension.HasField("dim_value") and dimension.dim_value != -1:  # some exporters say "any size" so
        if dimension.dim_value < 0:
            raise FormatError(f"{where} has the negative dimension {dimension.dim_value}")
        return dimension.dim_value
    return dimension.dim_param or None
