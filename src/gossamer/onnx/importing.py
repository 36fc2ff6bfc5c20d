"""ONNX to Program: near name-for-name, lossless in everything that changes a result.

What is not kept: documentation strings, value_info, node metadata and quantization annotations (they change
no result), and the form of constants: a Constant node, an initializer and a sparse initializer all become
weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from gossamer.artifact.onnx_reader import matmul_nbits, microsoft, tags
from gossamer.artifact.program import Attribute, Operation, Program
from gossamer.errors import FormatError, UnsupportedError, WeightError
from gossamer.graph.journal import note
from gossamer.weights import Dense, Quantized, Weight, decode

from . import functions, metadata, sequences, support, tensors
from .checking import check
from .ports import port


def load(source: str | os.PathLike[str] | bytes | ModelProto) -> Program:
    """The Program of an ONNX model: a path, the bytes of a file, or a ModelProto (which is not changed).

    Weights that :func:`gossamer.onnx.save` wrote come back in their representation (Sparse, Codebook,
    Quantized). Raises FormatError for bytes that are no valid ONNX model, UnsupportedError for control flow,
    sequences, strings and the like, naming the operator and the node.
    """
    model, folder = _parse(source)
    check(model)
    model = sequences.unrolled(functions.inlined(model))
    return _Importer(model, folder).program()


def _parse(source: str | os.PathLike[str] | bytes | ModelProto) -> tuple[ModelProto, Path | None]:
    if isinstance(source, ModelProto):
        return source, None
    folder = None
    if not isinstance(source, bytes):
        path = Path(source)
        folder = path.parent
        try:
            source = path.read_bytes()
        except OSError as error:
            raise FormatError(f"cannot read ONNX file {str(path)!r}: {error.strerror or error}") from error
    model = ModelProto()
    try:
        model.ParseFromString(source)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise FormatError(f"not an ONNX file ({len(source)} bytes): {error}") from error
    return model, folder


_NIBBLES = {"int4": np.int8, "uint4": np.uint8}


class _Importer:
    """Reads one checked and inlined model.

    Weights in file order: initializers, sparse initializers, Constant nodes.
    """

    def __init__(self, model: ModelProto, folder: Path | None) -> None:
        self.model, self.graph, self.folder = model, model.graph, folder
        self.opsets = _opsets(model)
        self.weights: dict[str, Weight] = {}
        self.bits: dict[str, int] = {}  # integers of a Quantized weight that gossamer wrote, by name

    def program(self) -> Program:
        for tensor in self.graph.initializer:
            self._add(tensor.name, self._weight(tensor, tensor.name, f"initializer {tensor.name!r}"))
        for sparse in self.graph.sparse_initializer:
            name = sparse.values.name
            self._add(name, tensors.sparse_weight(sparse, f"sparse initializer {name!r}", self.folder))
        operations = list(self._operations(self.graph.node))
        operations = matmul_nbits.written_out(self._with_quantized(operations), self.weights)
        inputs = tuple(port(value, "input") for value in self._true_inputs())
        outputs = tuple(port(value, "output") for value in self.graph.output)
        self._note_what_is_dropped()
        opsets = microsoft.opsets_of(self.opsets, operations)
        return Program(inputs, outputs, tuple(operations), self.weights, opsets, metadata.read(self.model))

    def _add(self, name: str, weight: Weight) -> None:
        if name in self.weights:
            raise FormatError(f"initializer {name!r} is there twice")
        self.weights[name] = weight

    def _weight(self, tensor: TensorProto, name: str, where: str) -> Weight:
        values = tensors.to_array(tensor, where, self.folder)
        if (
            values.dtype.name in _NIBBLES
        ):  # a Program holds them one to a byte; what reads them does the same to bytes
            values = values.astype(_NIBBLES[values.dtype.name])
        tag = next((entry.value for entry in tensor.metadata_props if entry.key == tags.KEY), None)
        dense = _dense(values, where)
        if tag is None:
            return dense
        bits = tags.read_bits(tag, values)
        if bits is not None:
            self.bits[name] = bits
            return dense
        weight = tags.read(tag, values)
        if weight is None:
            note(name, "its values no longer match the representation that gossamer recorded: kept dense")
        return weight or dense

    def _true_inputs(self) -> Iterator[ValueInfoProto]:
        for value in self.graph.input:
            if value.name not in self.weights:
                yield value
            elif self.model.ir_version >= 4:
                note(value.name, "was an input with a default value; now a weight that cannot be overridden")

    def _operations(self, nodes: Iterable[NodeProto]) -> Iterator[Operation]:
        for node in nodes:
            support.check(node, self.opsets)
            if node.op_type == "Constant" and _domain(node.domain) == "":
                self._add(node.output[0], self._constant(node))
                continue
            where = support.place(node)
            attributes = {
                item.name: _attribute(item, f"{where}, attribute {item.name!r}") for item in node.attribute
            }
            if len(attributes) != len(node.attribute):
                raise FormatError(f"{where}: an attribute is there twice")
            inputs, outputs = tuple(node.input), tuple(node.output)
            domain = _domain(node.domain)
            yield from microsoft.standard(
                Operation(node.op_type, inputs, outputs, attributes, node.name, domain)
            )

    def _constant(self, node: NodeProto) -> Weight:
        where = support.place(node)
        if len(node.attribute) != 1:
            raise FormatError(f"{where}: a Constant has one value, this one has {len(node.attribute)}")
        item = node.attribute[0]
        if item.name == "value":
            return self._weight(item.t, node.output[0], where)
        if item.name == "sparse_value":
            return tensors.sparse_weight(item.sparse_tensor, where, self.folder)
        value = _attribute(item, where)
        dtype = np.int64 if item.type in (AttributeProto.INT, AttributeProto.INTS) else np.float32
        if isinstance(value, str | np.ndarray) or item.type == AttributeProto.STRINGS:
            raise UnsupportedError(f"{where}: string tensors are not supported")
        return Dense(np.asarray(value, dtype=dtype))

    def _with_quantized(self, operations: list[Operation]) -> list[Operation]:
        """Turn DequantizeLinear of integers that gossamer tagged back into one Quantized weight."""
        uses: dict[str, int] = {}
        for name in (name for operation in operations for name in operation.inputs):
            uses[name] = uses.get(name, 0) + 1
        kept = []
        for operation in operations:
            bits = self.bits.get(operation.inputs[0]) if operation.op == "DequantizeLinear" else None
            weight = self._quantized(operation, bits) if bits is not None else None
            if weight is None or any(uses[name] > 1 for name in operation.inputs):
                kept.append(operation)
            else:
                self._replace(operation, weight)
        return kept

    def _quantized(self, operation: Operation, bits: int) -> Quantized | None:
        parts = [self.weights.get(name) for name in operation.inputs]
        if len(parts) != 3 or not all(isinstance(part, Dense) for part in parts):
            return None
        ints, scale, zero_point = (decode(part) for part in parts if part is not None)
        if scale.dtype != np.float32 or zero_point.dtype != ints.dtype or scale.shape != zero_point.shape:
            return None
        axis = operation.attributes.get("axis", 1) if scale.shape else None
        block = operation.attributes.get("block_size") or None
        try:
            return Quantized(ints, scale, zero_point, axis, bits, block)  # type: ignore[arg-type]
        except (WeightError, UnsupportedError):
            return None

    def _replace(self, operation: Operation, weight: Quantized) -> None:
        ints, *others = operation.inputs
        self.weights = {
            operation.outputs[0] if name == ints else name: weight if name == ints else value
            for name, value in self.weights.items()
            if name not in others
        }

    def _note_what_is_dropped(self) -> None:
        graph = self.graph
        documented = [graph, self.model, *graph.node, *graph.input, *graph.output, *graph.initializer]
        if any(item.doc_string for item in documented):
            note("onnx", "documentation strings dropped: they change no result and would cost bytes")
        if any(item.metadata_props for item in [graph, *graph.node, *graph.input, *graph.output]):
            note("onnx", "metadata of the graph, nodes, inputs and outputs dropped; the model's own is kept")
        if graph.quantization_annotation:
            note("onnx", "quantization annotations dropped: QuantizeLinear nodes say what is computed")
        if self.model.training_info:
            note("onnx", "training information dropped: a Program is for inference")


def _dense(values: npt.NDArray[np.generic], where: str) -> Dense:
    try:
        return Dense(values)
    except UnsupportedError as error:
        raise UnsupportedError(f"{where}: {error}") from error


def _opsets(model: ModelProto) -> dict[str, int]:
    opsets: dict[str, int] = {}
    for entry in model.opset_import:
        domain = _domain(entry.domain)
        if not 1 <= entry.version < 1 << 31:
            raise FormatError(f"operator domain {domain!r} is imported in version {entry.version}")
        if opsets.setdefault(domain, entry.version) != entry.version:
            raise FormatError(f"operator domain {domain!r} is imported in two versions")
    return opsets


def _domain(domain: str) -> str:
    """ "ai.onnx" is a synonym of the empty domain."""
    return "" if domain == "ai.onnx" else domain


def _attribute(item: AttributeProto, where: str) -> Attribute:
    match item.type:
        case AttributeProto.INT:
            return item.i
        case AttributeProto.FLOAT:
            return item.f
        case AttributeProto.STRING:
            return _text(item.s, where)
        case AttributeProto.INTS:
            return tuple(item.ints)
        case AttributeProto.FLOATS:
            return tuple(item.floats)
        case AttributeProto.STRINGS:
            return tuple(_text(text, where) for text in item.strings)
        case AttributeProto.TENSOR:
            return tensors.to_array(item.t, where, None)
        case _:
            kind = AttributeProto.AttributeType.Name(item.type).lower().replace("_", " ")
            raise UnsupportedError(f"{where}: attributes that hold a {kind} are not supported")


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: text is not UTF-8") from error
