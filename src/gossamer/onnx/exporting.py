"""Program to ONNX: any runtime can run the file, and gossamer reads it back as it was, weights included.

A Quantized weight is written as integers and DequantizeLinear where the operator set allows it; every other
weight as plain values, with a tag (:mod:`gossamer.onnx.tags`) that says how they were represented.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, defs, helper

from gossamer.artifact.onnx_reader import microsoft, tags
from gossamer.artifact.program import Attribute, Operation, Program
from gossamer.artifact.whole_file import write_whole
from gossamer.errors import UnsupportedError
from gossamer.weights import Quantized, Weight, decode, dtype

from . import metadata, tensors
from .checking import check
from .integer_biases import with_integer_biases
from .ports import value_info

_MIN_IR_VERSION = 10  # the first in which a tensor carries metadata
_MAX_BYTES = (1 << 31) - 1  # protobuf's own limit
_DEQUANTIZE_SINCE = {"int8": 10, "uint8": 10, "int32": 10, "int16": 21, "uint16": 21}
_DEQUANTIZE_AXIS_SINCE = 13
_DEQUANTIZE_BLOCKS_SINCE = 21
_OWN_DOMAIN = "gossamer"
_WIDE_QUANTIZERS_SINCE = 21
_NIBBLE, _NIBBLES_SINCE = 4, 21  # integers of four bits, as a type of their own


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write ``program`` as an ONNX file that runtimes load. Either the whole file appears or what stood there stays.

    Biases of quantized layers are int32 in the file, as runtimes that multiply integers want them.
    Raises SaveError where the file cannot be written, UnsupportedError for operators that the Engine alone has (of
    integer-only networks), and what :func:`to_onnx` raises.
    """
    own = sorted({operation.op for operation in program.operations if operation.domain == _OWN_DOMAIN})
    if own:
        raise UnsupportedError(
            f"no other runtime has the operators {', '.join(own)} of integer-only networks, and they have no QDQ form: "
            "keep the network as .goss for the Engine, or quantize without integer_only for an ONNX file"
        )
    write_whole(path, _serialized(to_onnx(with_integer_biases(_with_microsofts(program)))))


def _serialized(model: ModelProto) -> bytes:
    too_large = "the network is larger than the 2 GiB that one ONNX file can hold"
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _MAX_BYTES:
        raise UnsupportedError(too_large)
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise UnsupportedError(f"{too_large}, or protobuf cannot encode it: {error}") from error


def to_onnx(program: Program) -> ModelProto:
    """``program`` as a ModelProto that the official checker accepts; ``load`` of it is ``program`` again.

    Raises FormatError for a weight that is not canonical or a graph that breaks the rules of a Program,
    UnsupportedError for dtypes that ONNX does not have.
    """
    model = ModelProto(ir_version=_ir_version(program))
    for domain, version in program.opsets.items():
        model.opset_import.add(domain=domain, version=version)
    metadata.write(program.metadata, model)
    graph = model.graph
    graph.input.extend(value_info(port) for port in program.inputs)
    graph.output.extend(value_info(port) for port in program.outputs)
    names = _Names(program)
    for name, weight in program.weights.items():
        if isinstance(weight, Quantized) and _dequantizes(weight, program):
            in_nibbles = weight.bits == _NIBBLE and program.opsets.get("", 0) >= _NIBBLES_SINCE
            initializers, decoding = _dequantize(name, weight, names, in_nibbles)
            graph.initializer.extend(initializers)
            graph.node.append(decoding)
        else:
            graph.initializer.append(_initializer(name, weight))
    graph.node.extend(node(operation, program.opsets) for operation in program.operations)
    check(model)
    return model


def _with_microsofts(program: Program) -> Program:
    """Quantizers that the program's operator set does not have yet, in the domain where ONNX Runtime has them."""
    if program.opsets.get("", 0) >= _WIDE_QUANTIZERS_SINCE:
        return program
    operations = tuple(
        replace(operation, domain=microsoft.DOMAIN) if _is_wide(operation, program) else operation
        for operation in program.operations
    )
    is_used = any(operation.domain == microsoft.DOMAIN for operation in operations)
    opsets = {**program.opsets, microsoft.DOMAIN: 1} if is_used else program.opsets
    return replace(program, operations=operations, opsets=opsets)


def _is_wide(operation: Operation, program: Program) -> bool:
    """Whether it quantizes to or from 16 bits, or has scales for blocks."""
    if operation.domain or operation.op not in microsoft.QUANTIZERS:
        return False
    zero = program.weights.get(operation.inputs[2]) if len(operation.inputs) > 2 else None
    is_wide = zero is not None and dtype(zero).name in ("int16", "uint16")
    return is_wide or bool(operation.attributes.get("block_size"))


def _ir_version(program: Program) -> int:
    opsets = [helper.make_opsetid(domain, version) for domain, version in program.opsets.items()]
    return max(_MIN_IR_VERSION, helper.find_min_ir_version_for(opsets, ignore_unknown=True))


def _initializer(name: str, weight: Weight) -> TensorProto:
    tensor = tensors.from_array(decode(weight), name)
    tag = tags.write(weight, name)
    if tag is not None:
        tensor.metadata_props.add(key=tags.KEY, value=tag)
    return tensor


class _Names:
    """Hands out names that the Program does not use, the same ones every time."""

    def __init__(self, program: Program) -> None:
        self.taken = {port.name for port in (*program.inputs, *program.outputs)} | set(program.weights)
        self.taken.update(name for operation in program.operations for name in operation.outputs)

    def fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def _dequantizes(weight: Quantized, program: Program) -> bool:
    """Whether DequantizeLinear of the program's operator set can decode ``weight``."""
    since = _DEQUANTIZE_SINCE.get(weight.ints.dtype.name, np.inf)
    if weight.ints.dtype == np.int32 and weight.zero_point.any():  # the standard has none for 32 bits
        return False
    if weight.axis is not None:
        since = max(since, _DEQUANTIZE_AXIS_SINCE if weight.block is None else _DEQUANTIZE_BLOCKS_SINCE)
    return program.opsets.get("", 0) >= since


def _dequantize(
    name: str, weight: Quantized, names: _Names, in_nibbles: bool
) -> tuple[list[TensorProto], NodeProto]:
    write = tensors.from_nibbles if in_nibbles else tensors.from_array
    initializers = [
        write(weight.ints, names.fresh(f"{name}.ints")),
        tensors.from_array(weight.scale, names.fresh(f"{name}.scale")),
        write(weight.zero_point, names.fresh(f"{name}.zero_point")),
    ]
    initializers[0].metadata_props.add(key=tags.KEY, value=tags.write_bits(weight))
    inputs = [tensor.name for tensor in initializers]
    node = NodeProto(op_type="DequantizeLinear", input=inputs, output=[name])
    if weight.axis is not None:
        node.attribute.append(helper.make_attribute("axis", weight.axis))
    if weight.block is not None:
        node.attribute.append(helper.make_attribute("block_size", weight.block))
    return initializers, node


def node(operation: Operation, opsets: Mapping[str, int]) -> NodeProto:
    """One operation as a NodeProto; ``opsets`` tell the type of an attribute that is an empty list."""
    node = NodeProto(op_type=operation.op)
    if operation.name:
        node.name = operation.name
    if operation.domain:
        node.domain = operation.domain
    node.input.extend(operation.inputs)
    node.output.extend(operation.outputs)
    for name, value in operation.attributes.items():
        kind = _kind(name, value, operation, opsets)
        node.attribute.append(_attribute(name, value, kind))
    return node


def _attribute(name: str, value: Attribute, kind: int) -> AttributeProto:
    item = AttributeProto(name=name, type=kind)  # type: ignore[arg-type]
    match kind:
        case AttributeProto.TENSOR:
            item.t.CopyFrom(tensors.from_array(np.asarray(value), ""))
        case AttributeProto.INT:
            item.i = int(value)  # type: ignore[arg-type]
        case AttributeProto.FLOAT:
            item.f = float(value)  # type: ignore[arg-type]
        case AttributeProto.STRING:
            item.s = str(value).encode()
        case AttributeProto.INTS:
            item.ints.extend(value)
        case AttributeProto.FLOATS:
            item.floats.extend(value)
        case _:
            item.strings.extend(text.encode() for text in value)  # type: ignore[union-attr]
    return item


_SCALARS = {int: AttributeProto.INT, float: AttributeProto.FLOAT, str: AttributeProto.STRING}
_LISTS = {int: AttributeProto.INTS, float: AttributeProto.FLOATS, str: AttributeProto.STRINGS}


def _kind(name: str, value: Attribute, operation: Operation, opsets: Mapping[str, int]) -> int:
    """The attribute's ONNX type; an empty sequence has the one of the operator's schema."""
    if isinstance(value, np.ndarray):
        return AttributeProto.TENSOR
    if not isinstance(value, tuple):
        return _SCALARS[type(value)]
    if value:
        return _LISTS[type(value[0])]
    try:
        schema = defs.get_schema(operation.op, opsets.get(operation.domain, 1), operation.domain)
    except defs.SchemaError:
        return AttributeProto.INTS
    known = schema.attributes.get(name)
    return AttributeProto.INTS if known is None else int(known.type)  # type: ignore[call-overload]
