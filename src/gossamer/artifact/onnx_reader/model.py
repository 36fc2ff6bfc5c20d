"""ModelProto to Program. Field numbers are those of onnx.proto."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gossamer.artifact.program import (
    MAX_NESTED,
    Attribute,
    Operation,
    Port,
    Program,
    Size,
    Subgraph,
    validate,
)
from gossamer.errors import FormatError, GraphError, UnsupportedError
from gossamer.weights import Dense, Weight

from . import matmul_nbits, microsoft, tags
from .functions import Function, Reference, inlined
from .tensors import NIBBLES, dtype_name, to_array
from .wire import Message


def read(path: str | os.PathLike[str]) -> Program:
    """The Program of an ONNX file; external data is read from the file's folder.

    Raises FormatError where the file is no well-formed ONNX model, UnsupportedError for what a Program cannot hold
    (sequences, strings, operators of ONNX-ML ...), OSError.
    """
    path = Path(path)
    return parse(path.read_bytes(), path.parent)


def parse(data: bytes, folder: Path | None = None) -> Program:
    """The Program of an ONNX file's bytes. ``folder``: where external data lies. Errors as in :func:`read`."""
    model = Message(memoryview(data), f"ONNX file of {len(data)} bytes")
    if not model.has(7) or not model.has(8):
        raise FormatError(f"not an ONNX file ({len(data)} bytes): it has no graph or no operator version")
    graph = model.message(7, "the graph")
    reader = _Reader(folder)
    functions = [_function(message, reader) for message in model.messages(25, "a function")]
    weights, operations = reader.body(graph, functions)
    inputs = (_port(message, "input") for message in graph.messages(11, "an input"))
    program = Program(
        tuple(port for port in inputs if port.name not in weights),
        tuple(_port(message, "output") for message in graph.messages(12, "an output")),
        tuple(operations),
        weights,
        microsoft.opsets_of(_opsets(model), operations),
    )
    reader.check_nibbles(program)
    try:
        validate(program)
    except GraphError as error:
        raise FormatError(f"not a well-formed ONNX model: {error}") from error
    return program


def _opsets(model: Message) -> dict[str, int]:
    entries = model.messages(8, "an operator version")
    return {_domain(entry.text(1)): entry.integer(2) for entry in entries}


def _domain(domain: str) -> str:
    """ "ai.onnx" is a synonym of the empty domain."""
    return "" if domain == "ai.onnx" else domain


def _port(message: Message, kind: str) -> Port:
    name = message.text(1)
    place = f"{kind} {name!r}"
    form = message.message(2, place)
    if not form.has(1):
        raise UnsupportedError(f"{place} is not a tensor; only tensors are supported")
    tensor = form.message(1, place)
    dtype = dtype_name(tensor.integer(1), place)
    if not tensor.has(2):
        return Port(name, dtype, None)
    sizes = tensor.message(2, place).messages(1, place)
    return Port(name, dtype, tuple(_size(size, place) for size in sizes))


def _size(dimension: Message, place: str) -> Size:
    if not dimension.has(1) or dimension.integer(1) == -1:  # some exporters say "any size" so
        return dimension.text(2) or None
    if dimension.integer(1) < 0:
        raise FormatError(f"{place} has the negative dimension {dimension.integer(1)}")
    return dimension.integer(1)


def _function(message: Message, reader: _Reader) -> Function:
    defaults = (
        reader.attribute(item, "a function's default") for item in message.messages(11, "an attribute")
    )
    return Function(
        (_domain(message.text(10)), message.text(1)),
        message.texts(4),
        message.texts(5),
        tuple(reader.operations(message.messages(7, "a function's node"))),
        {name: value for name, value in defaults if value is not None},
    )


class _Reader:
    """Reads what may refer to files beside the model."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.functions: list[Function] = []
        self.nibbles: set[str] = set()  # weights of 4 bits, widened
        self.depth = 0

    def body(
        self, graph: Message, functions: Sequence[Function]
    ) -> tuple[dict[str, Weight], list[Operation]]:
        """The weights and operations of a graph, calls of ``functions`` written out."""
        self.functions = list(functions)
        weights = self.weights(graph)
        written_out = inlined(self.operations(graph.messages(1, "a node")), functions)
        operations = [each for operation in written_out for each in microsoft.standard(operation)]
        return weights, matmul_nbits.written_out(self.without_constants(operations, weights), weights)

    def subgraph(self, graph: Message) -> Subgraph:
        """A graph inside an attribute."""
        if self.depth >= MAX_NESTED:
            raise FormatError(f"subgraphs are nested more than {MAX_NESTED} deep")
        self.depth += 1
        weights, operations = self.body(graph, self.functions)
        self.depth -= 1
        inputs = (value.text(1) for value in graph.messages(11, "an input"))
        outputs = tuple(value.text(1) for value in graph.messages(12, "an output"))
        return Subgraph(
            tuple(name for name in inputs if name not in weights), outputs, tuple(operations), weights
        )

    def weights(self, graph: Message) -> dict[str, Weight]:
        """Initializers by name, those that gossamer tagged in their representation."""
        if graph.has(15):
            raise UnsupportedError(
                "sparse initializers are not supported here; gossamer.onnx.load reads them"
            )
        weights: dict[str, Weight] = {}
        for tensor in graph.messages(5, "an initializer"):
            name = tensor.text(8)
            if name in weights:
                raise FormatError(f"initializer {name!r} is there twice")
            weights[name] = self._weight(tensor, f"initializer {name!r}")
            if tensor.integer(2) in NIBBLES:
                self.nibbles.add(name)
        return weights

    def check_nibbles(self, graph: Program | Subgraph) -> None:
        """Raise UnsupportedError where anything but DequantizeLinear reads 4-bit integers."""
        for operation in graph.operations:
            read = self.nibbles.intersection(operation.inputs)
            if read and operation.op != "DequantizeLinear":
                raise UnsupportedError(
                    f"operator {operation.op!r} reads {min(read)!r}, 4-bit integers: only DequantizeLinear may"
                )
            for value in operation.attributes.values():
                if isinstance(value, Subgraph):
                    self.check_nibbles(value)

    def _weight(self, tensor: Message, place: str) -> Weight:
        values = to_array(tensor, place, self.folder)
        entries = {entry.text(1): entry.text(2) for entry in tensor.messages(16, place)}
        tagged = tags.read(entries[tags.KEY], values) if tags.KEY in entries else None
        return tagged or Dense(values)

    def operations(self, nodes: Iterable[Message]) -> Iterator[Operation]:
        """The nodes as they stand, Constant among them; an attribute that refers to a function's is a Reference."""
        for node in nodes:
            op, name = node.text(4), node.text(3)
            label = name or next(filter(None, node.texts(2)), "")
            place = f"operator {op!r} (node {label!r})"
            items = node.messages(5, place)
            attributes: dict[str, Any] = dict(self.attribute(item, place) for item in items)
            yield Operation(op, node.texts(1), node.texts(2), attributes, name, _domain(node.text(7)))

    def attribute(self, item: Message, place: str) -> tuple[str, Attribute | Reference]:
        """Name and value of one attribute."""
        name = item.text(1)
        place = f"{place}, attribute {name!r}"
        if item.has(21):
            return name, Reference(item.text(21))
        return name, self._value(item, place)

    def _value(self, item: Message, place: str) -> Attribute:
        match item.integer(20):
            case 1:
                return _real(item)
            case 2:
                return item.integer(3)
            case 3:
                return _text(item.raw(4), place)
            case 4:
                tensor = item.message(5, place)
                if tensor.integer(2) in NIBBLES:
                    raise UnsupportedError(f"{place}: 4-bit integers are supported as initializers alone")
                return to_array(tensor, place, self.folder)
            case 5:
                return self.subgraph(item.message(6, place))
            case 6:
                return item.floats(7)
            case 7:
                return item.integers(8)
            case 8:
                return tuple(_text(raw, place) for raw in item.raws(9))
            case kind:
                raise UnsupportedError(
                    f"{place}: attributes of kind {_KINDS.get(kind, kind)} are not supported"
                )

    def without_constants(self, operations: list[Operation], weights: dict[str, Weight]) -> list[Operation]:
        """The other operations; what Constant nodes hold is put into ``weights``."""
        kept = []
        for operation in operations:
            if operation.op != "Constant" or operation.domain:
                kept.append(operation)
                continue
            name = operation.outputs[0] if operation.outputs else ""
            if not name or name in weights or len(operation.attributes) != 1:
                raise FormatError(f"the constant {name!r} has no name of its own, or not one value")
            weights[name] = _constant(*next(iter(operation.attributes.items())), name)
        return kept


_KINDS = {0: "none", 9: "tensors", 10: "graphs", 11: "sparse tensor", 13: "type"}


def _real(item: Message) -> float:
    values = item.floats(2)
    return values[-1] if values else 0.0


def _text(raw: memoryview, place: str) -> str:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{place}: text is not UTF-8") from error


def _constant(kind: str, value: Attribute | Reference, name: str) -> Weight:
    types = {
        "value": None,
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_float": np.float32,
        "value_floats": np.float32,
    }
    if kind not in types or isinstance(value, str | Reference | Subgraph):
        raise UnsupportedError(f"the constant {name!r} is a {kind}; tensors and numbers are supported")
    return Dense(np.asarray(value, types[kind]))
