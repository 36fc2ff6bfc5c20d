"""The deployable graph: a short list of operations with ONNX operator names and semantics.

A Program is plain data: no pickle, no protobuf, nothing that executes. Operations are topologically sorted:
an operation's inputs are program inputs, weights, or outputs of operations before it. Names are unique among
inputs, weights and operation outputs together; an absent optional input or output is the empty name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gossamer.errors import GraphError
from gossamer.weights import Dense, Weight, equal

MAX_NESTED = 16  # subgraphs inside subgraphs

# ints are 64-bit, floats are kept as float32 (what ONNX stores); a sequence holds one type.
Scalar: TypeAlias = int | float | str
Attribute: TypeAlias = (
    "Scalar | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | npt.NDArray[np.generic] | Subgraph"
)
# A size is a number, or the name of a dimension that is chosen at run time ("batch"), or None where unknown.
Size: TypeAlias = int | str | None


@dataclass(frozen=True)
class Port:
    """One input or output of a Program: name, NumPy dtype name ("float32"), shape (None: unknown rank)."""

    name: str
    dtype: str
    shape: tuple[Size, ...] | None


@dataclass(frozen=True, eq=False)
class Operation:
    """One ONNX operator applied to named values. ``domain`` is empty for the standard operators."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    name: str = ""
    domain: str = ""


@dataclass(frozen=True, eq=False)
class Program:
    """Inputs, operations, weights, outputs. ``opsets`` maps an operator domain to its version, as in ONNX.

    ``metadata``: short strings by key (producer, class labels, ...); they change no result.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    weights: Mapping[str, Weight]
    opsets: Mapping[str, int]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subgraph:
    """The body of If, Loop or Scan: names of its inputs and outputs, and as in a Program operations and weights.

    Its operations may read any value that the operation around it could read. Names are its own: they are not taken
    outside of it, but differ from all that it can read.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    weights: Mapping[str, Weight]


def validate(program: Program) -> None:
    """Raise GraphError unless names are unique, operations sorted, and every name that is used is
    declared."""
    scope = _Scope(set(), 0)
    for port in (*program.inputs, *program.outputs):
        _check_port(port)
    for domain, version in program.opsets.items():
        if version < 1:
            raise GraphError(f"opsets: domain {domain!r} has version {version}; versions begin at 1")
    scope.enter(tuple(port.name for port in program.inputs), program.weights, program.operations)
    for port in program.outputs:
        scope.use(port.name, "the list of outputs")


class _Scope:
    """The names that can be read at one place of a program."""

    def __init__(self, declared: set[str], depth: int) -> None:
        self.declared, self.depth = declared, depth

    def declare(self, name: str, place: str) -> None:
        if not name:
            raise GraphError(f"{place} has an empty name; give it one")
        if name in self.declared:
            raise GraphError(
                f"{place}: the name {name!r} is taken; names are unique among inputs, weights and outputs"
            )
        self.declared.add(name)

    def use(self, name: str, place: str) -> None:
        if name not in self.declared:
            raise GraphError(f"{place} uses {name!r}, which no input, weight or earlier operation declares")

    def enter(self, inputs: Iterable[str], weights: Iterable[str], operations: Iterable[Operation]) -> None:
        for name in inputs:
            self.declare(name, "an input")
        for name in weights:
            self.declare(name, "a weight")
        for operation in operations:
            place = f"operation {operation.name or operation.op!r}"
            for name in filter(None, operation.inputs):
                self.use(name, place)
            for key, value in operation.attributes.items():
                self._check_attribute(value, f"{place}, attribute {key!r}")
            for name in filter(None, operation.outputs):
                self.declare(name, place)

    def _check_attribute(self, value: object, place: str) -> None:
        if not isinstance(value, Subgraph):
            _check_attribute(value, place)
            return
        if self.depth >= MAX_NESTED:
            raise GraphError(f"{place}: subgraphs are nested more than {MAX_NESTED} deep")
        inner = _Scope(set(self.declared), self.depth + 1)
        inner.enter(value.inputs, value.weights, value.operations)
        for name in value.outputs:
            inner.use(name, place)


def _check_port(port: Port) -> None:
    for size in port.shape or ():
        if not (size is None or isinstance(size, str) or (type(size) is int and 0 <= size < 1 << 62)):
            raise GraphError(
                f"{port.name!r} has the size {size!r} in its shape; a size is a number from 0, a name, or "
                f"None"
            )


def _check_attribute(value: object, place: str) -> None:
    items = value if isinstance(value, tuple) else (value,)
    types = {type(item) for item in items}
    if isinstance(value, np.ndarray) or (len(types) <= 1 and types <= {int, float, str}):
        return
    raise GraphError(
        f"{place} is {value!r}; it must be an int, a float, a str, a tuple of one of them, or an array"
    )


def same(a: Program, b: Program) -> bool:
    """Whether two programs are equal, weight for weight and attribute for attribute, bytes and dtypes
    included."""
    own = (a.inputs, a.outputs, a.opsets, a.metadata) == (b.inputs, b.outputs, b.opsets, b.metadata)
    return own and _same_body(a, b)


def _same_body(a: Program | Subgraph, b: Program | Subgraph) -> bool:
    return (
        a.weights.keys() == b.weights.keys()
        and all(equal(weight, b.weights[name]) for name, weight in a.weights.items())
        and len(a.operations) == len(b.operations)
        and all(_same_operation(x, y) for x, y in zip(a.operations, b.operations, strict=True))
    )


def _same_operation(a: Operation, b: Operation) -> bool:
    return (
        (a.op, a.inputs, a.outputs, a.name, a.domain) == (b.op, b.inputs, b.outputs, b.name, b.domain)
        and a.attributes.keys() == b.attributes.keys()
        and all(_same_attribute(value, b.attributes[key]) for key, value in a.attributes.items())
    )


def _same_attribute(a: Attribute, b: Attribute) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return equal(Dense(a), Dense(b))
    if isinstance(a, Subgraph) and isinstance(b, Subgraph):
        return (a.inputs, a.outputs) == (b.inputs, b.outputs) and _same_body(a, b)
    return type(a) is type(b) and repr(a) == repr(b)
