"""Which nodes a Program can hold: tensors of numbers in, tensors of numbers out, nothing nested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain, repeat
from typing import TypeAlias

from onnx import AttributeProto, NodeProto, TensorProto, defs

from gossamer.errors import UnsupportedError

_NESTED = {
    AttributeProto.GRAPH: "a subgraph",
    AttributeProto.GRAPHS: "subgraphs",
    AttributeProto.TENSORS: "a list of tensors",
    AttributeProto.SPARSE_TENSORS: "a list of sparse tensors",
    AttributeProto.TYPE_PROTO: "a type",
    AttributeProto.TYPE_PROTOS: "a list of types",
}


def place(node: NodeProto) -> str:
    """The node as messages name it: operator, and its name or else its first output."""
    label = node.name or next((name for name in node.output if name), "")
    return f"operator {node.op_type!r} (node {label!r})"


def check(node: NodeProto, opsets: Mapping[str, int]) -> None:
    """Raise UnsupportedError for subgraphs, sequences, optionals, maps and strings, naming the node."""
    for item in node.attribute:
        if item.type in _NESTED:
            what = _NESTED[item.type]
            raise UnsupportedError(f"{place(node)} holds {what} in attribute {item.name!r}: not supported")
        if node.op_type == "Cast" and item.name == "to" and item.i == TensorProto.STRING:
            raise UnsupportedError(f"{place(node)} casts to strings: only numeric tensors are supported")
    for name, kinds in _values(node, opsets):
        if name and kinds and not any(_is_numeric(kind) for kind in kinds):
            held = " or ".join(sorted(kinds)[:3])
            raise UnsupportedError(
                f"{place(node)} works on {name!r}, which is no numeric tensor but {held}: not supported"
            )


def _values(node: NodeProto, opsets: Mapping[str, int]) -> Iterator[tuple[str, frozenset[str]]]:
    domain = "" if node.domain == "ai.onnx" else node.domain
    inputs, outputs = _types(node.op_type, opsets.get(domain, 1), domain)
    yield from zip(node.input, _extended(inputs), strict=False)
    yield from zip(node.output, _extended(outputs), strict=False)


def _extended(kinds: _Types) -> Iterator[frozenset[str]]:
    """The last formal parameter may be variadic: it repeats."""
    return chain(kinds, repeat(kinds[-1] if kinds else frozenset()))


_Types: TypeAlias = tuple[frozenset[str], ...]


@cache
def _types(op: str, version: int, domain: str) -> tuple[_Types, _Types]:
    """Allowed types of each formal input and output; empty for operators of custom domains."""
    try:
        schema = defs.get_schema(op, version, domain)
    except defs.SchemaError:
        return (), ()
    return (
        tuple(frozenset(parameter.types) for parameter in schema.inputs),
        tuple(frozenset(parameter.types) for parameter in schema.outputs),
    )


def _is_numeric(kind: str) -> bool:
    return kind.startswith("tensor(") and kind != "tensor(string)"
