"""A Program as structure and streams."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from gossamer.errors import FormatError
from gossamer.weights import Dense, Weight

from .coding import Coding
from .layout import Tag
from .program import MAX_NESTED, Attribute, Operation, Port, Program, Size, Subgraph
from .tensors import read_weight, write_weight
from .wire import Reader, Stream, Writer

V = TypeVar("V")
# Told the name and the value of a weight, and the streams that it was read from.
Observe = Callable[[str, Weight, list[Stream]], None]


def ignore(name: str, weight: Weight, streams: list[Stream]) -> None:
    """Observe nothing."""


def write_program(program: Program, coding: Coding) -> Writer:
    """Everything; mappings in the order of their keys, so that equal programs give equal bytes."""
    to = Writer()

    def entry(item: tuple[str, str]) -> None:
        to.string(item[0])
        to.string(item[1])

    def opset(item: tuple[str, int]) -> None:
        to.string(item[0])
        to.number(item[1])

    to.sequence(sorted(program.opsets.items()), opset)
    to.sequence(sorted(program.metadata.items()), entry)
    to.sequence(program.inputs, lambda port: _write_port(to, port))
    to.sequence(program.operations, lambda operation: _write_operation(to, operation, coding))
    to.sequence(program.outputs, lambda port: _write_port(to, port))
    _write_weights(to, program.weights, coding)
    return to


def read_program(source: Reader, observe: Observe = ignore) -> Program:
    """What :func:`write_program` wrote. ``observe`` is called after each weight was read."""

    def entry() -> tuple[str, str]:
        return source.string(), source.string()

    def opset() -> tuple[str, int]:
        return source.string(), source.number()

    opsets = _mapping(source.sequence(opset))
    metadata = _mapping(source.sequence(entry))
    inputs = source.sequence(lambda: _read_port(source))
    operations = source.sequence(lambda: _read_operation(source, observe, 0))
    outputs = source.sequence(lambda: _read_port(source))
    weights = _read_weights(source, observe)
    return Program(inputs, outputs, operations, weights, opsets, metadata)


def _mapping(items: tuple[tuple[str, V], ...]) -> dict[str, V]:
    keys = [key for key, _ in items]
    if any(a >= b for a, b in itertools.pairwise(keys)):
        raise FormatError("a mapping of the structure is not in the order of its keys")
    return dict(items)


def _write_weights(to: Writer, weights: Mapping[str, Weight], coding: Coding) -> None:
    def weight(item: tuple[str, Weight]) -> None:
        to.string(item[0])
        write_weight(to, item[1], coding)

    to.sequence(sorted(weights.items(), key=lambda item: item[0]), weight)


def _read_weights(source: Reader, observe: Observe) -> dict[str, Weight]:
    def weight() -> tuple[str, Weight]:
        name = source.string()
        first = len(source.log)
        value = read_weight(source)
        observe(name, value, source.log[first:])
        return name, value

    return _mapping(source.sequence(weight))


def _write_port(to: Writer, port: Port) -> None:
    to.string(port.name)
    to.string(port.dtype)
    to.byte(port.shape is not None)
    if port.shape is not None:
        to.sequence(port.shape, lambda size: _write_size(to, size))


def _read_port(source: Reader) -> Port:
    name, dtype = source.string(), source.string()
    known = source.member((False, True))
    return Port(name, dtype, source.sequence(lambda: _read_size(source)) if known else None)


def _write_size(to: Writer, size: Size) -> None:
    match size:
        case None:
            to.number(0)
        case str():
            to.number(1)
            to.string(size)
        case _:
            to.number(size + 2)


def _read_size(source: Reader) -> Size:
    code = source.number()
    return None if code == 0 else source.string() if code == 1 else code - 2


def _write_operation(to: Writer, operation: Operation, coding: Coding) -> None:
    def attribute(item: tuple[str, Attribute]) -> None:
        to.string(item[0])
        _write_attribute(to, item[1], coding)

    to.string(operation.op)
    to.string(operation.domain)
    to.string(operation.name)
    to.sequence(operation.inputs, to.string)
    to.sequence(operation.outputs, to.string)
    to.sequence(sorted(operation.attributes.items(), key=lambda item: item[0]), attribute)


def _read_operation(source: Reader, observe: Observe, depth: int) -> Operation:
    def attribute() -> tuple[str, Attribute]:
        return source.string(), _read_attribute(source, observe, depth)

    op, domain, name = source.string(), source.string(), source.string()
    inputs, outputs = source.sequence(source.string), source.sequence(source.string)
    return Operation(op, inputs, outputs, _mapping(source.sequence(attribute)), name, domain)


def _write_attribute(to: Writer, value: Attribute, coding: Coding) -> None:
    match value:
        case np.ndarray():
            to.byte(Tag.TENSOR)
            write_weight(to, Dense(value), coding)
        case Subgraph():
            to.byte(Tag.GRAPH)
            _write_subgraph(to, value, coding)
        case tuple():
            tags = {str: Tag.STRINGS, float: Tag.FLOATS, int: Tag.INTS}
            tag = tags[type(value[0])] if value else Tag.INTS
            to.byte(tag)
            to.sequence(value, _item_writer(to, tag))
        case str() | int() | float():
            tag = Tag.STRING if isinstance(value, str) else Tag.FLOAT if isinstance(value, float) else Tag.INT
            to.byte(tag)
            _item_writer(to, tag)(value)


def _item_writer(to: Writer, tag: Tag) -> Callable[[object], None]:
    writers: dict[Tag, Callable[..., None]] = {Tag.INT: to.signed, Tag.FLOAT: to.real, Tag.STRING: to.string}
    return writers[Tag(tag % 3)]


def _write_subgraph(to: Writer, graph: Subgraph, coding: Coding) -> None:
    to.sequence(graph.inputs, to.string)
    to.sequence(graph.operations, lambda operation: _write_operation(to, operation, coding))
    to.sequence(graph.outputs, to.string)
    _write_weights(to, graph.weights, coding)


def _read_subgraph(source: Reader, observe: Observe, depth: int) -> Subgraph:
    if depth > MAX_NESTED:
        raise FormatError(f"subgraphs are nested more than {MAX_NESTED} deep")
    inputs = source.sequence(source.string)
    operations = source.sequence(lambda: _read_operation(source, observe, depth))
    outputs = source.sequence(source.string)
    return Subgraph(inputs, outputs, operations, _read_weights(source, observe))


def _read_attribute(source: Reader, observe: Observe, depth: int) -> Attribute:
    match source.member(Tag):
        case Tag.INT:
            return source.signed()
        case Tag.FLOAT:
            return source.real()
        case Tag.STRING:
            return source.string()
        case Tag.INTS:
            return source.sequence(source.signed)
        case Tag.FLOATS:
            return source.sequence(source.real)
        case Tag.STRINGS:
            return source.sequence(source.string)
        case Tag.TENSOR:
            weight = read_weight(source)
            if not isinstance(weight, Dense):
                raise FormatError("an attribute is a tensor that is not dense")
            return weight.values
        case Tag.GRAPH:
            return _read_subgraph(source, observe, depth + 1)
