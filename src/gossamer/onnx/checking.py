"""The official checker on a model of any size: structure, order of nodes, attributes against schemas."""

from __future__ import annotations

from typing import Any

import onnx
from google.protobuf.message import DecodeError, EncodeError, Message  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto, checker

from gossamer.errors import FormatError, UnsupportedError

_REFUSALS = (checker.ValidationError, ValueError, RuntimeError, TypeError, DecodeError, EncodeError)


def check(model: ModelProto) -> None:
    """Raise FormatError where the model breaks the ONNX standard; sizes of weights are checked elsewhere."""
    if model.ir_version > onnx.IR_VERSION:
        raise UnsupportedError(
            f"the model has IR version {model.ir_version}, the installed onnx reads up to {onnx.IR_VERSION}: "
            "upgrade onnx"
        )
    _require_text(model)
    try:
        checker.check_model(_without_values(model))
    except _REFUSALS as error:
        raise FormatError(f"not a valid ONNX model: {_first_line(error)}") from error


def _require_text(message: Message) -> None:
    """Raise FormatError where a string is not UTF-8: protobuf would hand it out as bytes."""
    for field, value in _fields(message):
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for item in [value] if isinstance(value, (str, bytes, Message)) else value:
            if isinstance(item, bytes):
                raise FormatError(f"not a valid ONNX model: {field.full_name} {item[:40]!r} is not UTF-8")
            if isinstance(item, Message):
                _require_text(item)


def _fields(message: Message) -> list[tuple[Any, Any]]:
    """The message's fields with their values; of a tensor those with text, for listing it would copy its values."""
    if not isinstance(message, TensorProto):
        fields: list[tuple[Any, Any]] = message.ListFields()
        return fields
    described = message.DESCRIPTOR.fields_by_name
    return [(described[name], getattr(message, name)) for name in _TEXTS_OF_A_TENSOR]


_TEXTS_OF_A_TENSOR = ("name", "doc_string", "external_data", "metadata_props")


def _without_values(model: ModelProto) -> ModelProto:
    """The model as the checker can judge it.

    Weights emptied, for it would copy them all and knows no file beside the model; unknown ranks filled in,
    for it wants a shape where the standard does not.
    """
    light = ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        _empty(tensor)
    for value in (*light.graph.input, *light.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    for node in light.graph.node:
        for item in node.attribute:
            if item.t.data_location == TensorProto.EXTERNAL:
                _empty(item.t)
    return light


def _empty(tensor: TensorProto) -> None:
    tensor.CopyFrom(TensorProto(name=tensor.name, data_type=TensorProto.FLOAT, dims=[0]))


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
