"""Operations of older versions of the standard that the same operator of today would compute otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gossamer.artifact.program import Operation, Program

_FLATTENING = (
    "Softmax",
    "LogSoftmax",
    "Hardmax",
)  # before version 13: of all dimensions from an axis on, as one


def of_today(program: Program) -> Program:
    """``program`` with the meaning that version 13 of the standard gave its operators."""
    if program.opsets.get("", 13) >= 13:
        return program
    operations = tuple(new for old in program.operations for new in _of_today(old))
    return replace(program, operations=operations)


def _of_today(operation: Operation) -> Iterator[Operation]:
    if operation.domain or operation.op not in _FLATTENING:
        yield operation
        return
    (x,), (y,), axis = operation.inputs, operation.outputs, operation.attributes.get("axis", 1)
    shape, rows, probabilities = (f"{y}.{name}" for name in ("shape", "rows", "probabilities"))
    yield Operation("Shape", (x,), (shape,), name=f"{operation.name}.shape")
    yield Operation("Flatten", (x,), (rows,), {"axis": axis}, f"{operation.name}.rows")
    yield replace(operation, inputs=(rows,), outputs=(probabilities,), attributes={"axis": -1})
    yield Operation("Reshape", (probabilities, shape), (y,), name=f"{operation.name}.back")
