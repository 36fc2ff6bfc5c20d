"""The deployable graph: a short list of operations with ONNX operator names and semantics.

A Program is plain data: no pickle, no protobuf, nothing that executes. Operations are topologically sorted:
an operation's inputs are program inputs, weights, or outputs of operations before it. Names are unique among
inputs, weights and operation outputs together; an absent optional input or output is the empty name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gossamer.errors import GraphError
from gossamer.weights import Dense, Weight, equal

# ints are 64-bit, floats are kept as float32 (what ONNX stores); a sequence holds one type.
Attribute: TypeAlias = (
    int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | npt.NDArray[np.generic]
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


def validate(program: Program) -> None:
    """Raise GraphError unless names are unique, operations sorted, and every name that is used is
    declared."""
    declared: set[str] = set()

    def declare(name: str, place: str) -> None:
        if not name:
            raise GraphError(f"{place} has an empty name; give it one")
        if name in declared:
            raise GraphError(
                f"{place}: the name {name!r} is taken; names are unique among inputs, weights and outputs"
            )
        declared.add(name)

    def use(name: str, place: str) -> None:
        if name not in declared:
            raise GraphError(f"{place} uses {name!r}, which no input, weight or earlier operation declares")

    for port in (*program.inputs, *program.outputs):
        _check_port(port)
    for domain, version in program.opsets.items():
        if version < 1:
            raise GraphError(f"opsets: domain {domain!r} has version {version}; versions begin at 1")
    for port in program.inputs:
        declare(port.name, "an input")
    for name in program.weights:
        declare(name, "a weight")
    for operation in program.operations:
        place = f"operation {operation.name or operation.op!r}"
        for name in filter(None, operation.inputs):
            use(name, place)
        for name in filter(None, operation.outputs):
            declare(name, place)
        for key, value in operation.attributes.items():
            _check_attribute(value, f"{place}, attribute {key!r}")
    for port in program.outputs:
        use(port.name, "the list of outputs")


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
    return (
        (a.inputs, a.outputs, a.opsets, a.metadata) == (b.inputs, b.outputs, b.opsets, b.metadata)
        and a.weights.keys() == b.weights.keys()
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
    return type(a) is type(b) and repr(a) == repr(b)
