"""Functions that a model defines itself: their bodies written out where they are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from gossamer.artifact.program import Operation, Subgraph
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
        body = _Renaming(
            f"{call.name or call.op}#{self.calls}/", names, {**function.defaults, **call.attributes}
        )
        yield from map(body.operation, function.body)


class _Renaming:
    """A function's body at one call: ``names`` of its values, ``values`` of the attributes that it refers to."""

    def __init__(self, prefix: str, names: dict[str, str], values: Mapping[str, Any]) -> None:
        self.prefix, self.names, self.values = prefix, names, values

    def operation(self, operation: Operation) -> Operation:
        bound = {name: self._bound(value) for name, value in operation.attributes.items()}
        return replace(
            operation,
            inputs=tuple(map(self._name, operation.inputs)),
            outputs=tuple(map(self._name, operation.outputs)),
            attributes={name: value for name, value in bound.items() if value is not None},
            name=self.prefix + (operation.name or operation.op),
        )

    def _name(self, name: str) -> str:
        return self.names.setdefault(name, self.prefix + name)

    def _bound(self, value: Any) -> Any:
        """An attribute's value; None where it refers to one that the call does not give."""
        if isinstance(value, Reference):
            return self.values.get(value.name)
        if not isinstance(value, Subgraph):
            return value
        return Subgraph(
            tuple(map(self._name, value.inputs)),
            tuple(map(self._name, value.outputs)),
            tuple(map(self.operation, value.operations)),
            {self._name(name): weight for name, weight in value.weights.items()},
        )
