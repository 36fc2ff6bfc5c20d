"""Functions that a model defines itself: their bodies written out where they are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from gossamer.artifact.program import Operation
from gossamer.errors import FormatError

_MAX_OPERATIONS = 1_000_000
_MAX_DEPTH = 50


@dataclass(frozen=True)
class Reference:
    """Stands for the attribute ``name`` of the call; only inside a function."""

    name: str


@dataclass(frozen=True)
class Function:
    """One function: (domain, name), names of its inputs and outputs, its body, attributes that a call may leave out."""

    key: tuple[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    body: tuple[Operation, ...]
    defaults: Mapping[str, Any]


def inlined(operations: Iterable[Operation], functions: Iterable[Function]) -> list[Operation]:
    """The operations with every call replaced by the function's body, its values renamed.

    Raises FormatError where functions call each other in a circle or grow beyond a million operations.
    """
    inliner = _Inliner({function.key: function for function in functions})
    return list(inliner.written_out(operations, 0))


class _Inliner:
    def __init__(self, functions: Mapping[tuple[str, str], Function]) -> None:
        self.functions, self.calls, self.written = functions, 0, 0

    def written_out(self, operations: Iterable[Operation], depth: int) -> Iterator[Operation]:
        if depth > _MAX_DEPTH:
            raise FormatError(f"functions call each other in a circle, or more than {_MAX_DEPTH} deep")
        for operation in operations:
            function = self.functions.get((operation.domain, operation.op))
            if function is not None:
                yield from self.written_out(self._body(function, operation), depth + 1)
                continue
            self.written += 1
            if self.written > _MAX_OPERATIONS:
                raise FormatError(f"the functions, written out in place, exceed {_MAX_OPERATIONS} operations")
            yield operation

    def _body(self, function: Function, call: Operation) -> Iterator[Operation]:
        if len(call.inputs) > len(function.inputs) or len(call.outputs) > len(function.outputs):
            raise FormatError(
                f"a call of the function {function.key[1]!r} has more arguments than the function"
            )
        self.calls += 1
        names = {"": ""}
        names.update(zip_longest(function.inputs, call.inputs, fillvalue=""))
        names.update(
            (own, given) for own, given in zip(function.outputs, call.outputs, strict=False) if given
        )
        prefix = f"{call.name or call.op}#{self.calls}/"
        values = {**function.defaults, **call.attributes}
        for operation in function.body:
            yield replace(
                operation,
                inputs=tuple(names.setdefault(name, prefix + name) for name in operation.inputs),
                outputs=tuple(names.setdefault(name, prefix + name) for name in operation.outputs),
                attributes=_bound(operation.attributes, values),
                name=prefix + (operation.name or operation.op),
            )


def _bound(attributes: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with what the call gives in the place of references; those that it does not give are absent."""
    bound = {
        name: values.get(value.name) if isinstance(value, Reference) else value
        for name, value in attributes.items()
    }
    return {name: value for name, value in bound.items() if value is not None}
