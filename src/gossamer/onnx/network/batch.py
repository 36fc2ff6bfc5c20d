"""Files that fix the number of examples, as files of any number.

Where in a value's dimensions the examples lie is followed from the inputs on: transposing moves them, a reshape leaves
them where as many elements are in front of them as before. Reshapes then leave that dimension open.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gossamer.artifact.program import Operation, Port, Program
from gossamer.weights import Dense, Weight, decode

from ..simplifying import simplify
from ..values import infer

_Array = np.ndarray[Any, Any]
_Weights = Mapping[str, Weight]
_BROADCAST = {"Add", "Sub", "Mul", "Div", "Where", "Concat", "Expand"}  # what takes one row for all of them


def fixed_batch(program: Program) -> int | None:
    """The number of examples that every input of the file is fixed at."""
    sizes = {port.shape[0] if port.shape else None for port in program.inputs}
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return size if isinstance(size, int) and size > 0 else None


def with_free_batch(program: Program) -> Program:
    """``program`` for any number of examples, where it fixes one; as it is otherwise."""
    batch = fixed_batch(program)
    if batch is None:
        return program
    program = simplify(program)  # all sizes are known, so what is computed of them becomes constants
    weights, operations, known = dict(program.weights), [], infer(program)
    axes = {port.name: 0 for port in program.inputs}
    for operation in program.operations:
        _follow(operation, known, weights, axes)
        sizes = _open_sizes(operation, known, weights, axes, batch)
        if sizes is not None:
            name = f"{operation.outputs[0]}.any_batch"
            weights[name] = Dense(np.array(sizes, np.int64))
            operation = replace(operation, inputs=(operation.inputs[0], name))
        operations.append(operation)
    weights.update(_single_rows(operations, weights, batch))
    inputs = tuple(replace(port, shape=("batch", *(port.shape or ())[1:])) for port in program.inputs)
    outputs = tuple(replace(port, shape=None) for port in program.outputs)
    return replace(program, inputs=inputs, outputs=outputs, weights=weights, operations=tuple(operations))


def _shape(name: str, known: Mapping[str, Port]) -> tuple[int, ...] | None:
    """The sizes of a value, where all are known."""
    shape = known[name].shape if name in known else None
    return tuple(shape) if shape is not None and all(isinstance(n, int) for n in shape) else None  # type: ignore[arg-type]


def _follow(operation: Operation, known: Mapping[str, Port], weights: _Weights, axes: dict[str, int]) -> None:
    """Write down in ``axes`` in which dimension of the operation's outputs the examples lie."""
    source = next((name for name in operation.inputs if name in axes), None)
    before = None if source is None else _shape(source, known)
    if source is None or before is None:
        return
    for name in filter(None, operation.outputs):
        after = _shape(name, known)
        axis = None if after is None else _axis(operation, axes[source], before, after, weights)
        if axis is not None:
            axes[name] = axis


def _axis(
    operation: Operation, axis: int, before: Sequence[int], after: Sequence[int], weights: _Weights
) -> int | None:
    """Where dimension ``axis`` of the input is in the output."""
    rank = len(before)
    match operation.op:
        case "Transpose":
            perm = operation.attributes.get("perm", tuple(reversed(range(rank))))
            return list(perm).index(axis)  # type: ignore[arg-type]
        case "Reshape" | "Flatten":
            front = math.prod(before[:axis])
            return next((i for i in range(len(after)) if math.prod(after[:i]) == front), None)
        case "Unsqueeze":
            added = {place % len(after) for place in _places(operation, weights)}
            kept = [i for i in range(len(after)) if i not in added]
            return kept[axis] if axis < len(kept) else None
        case "Gather" | "ArgMax" | "ArgMin" if len(after) < rank:
            gone = int(operation.attributes.get("axis", 0)) % rank  # type: ignore[arg-type]
            return None if gone == axis else axis - (gone < axis)
        case _ if len(after) < rank:  # Squeeze and sums
            gone_too = {place % rank for place in _places(operation, weights)}
            return None if axis in gone_too else axis - sum(place < axis for place in gone_too)
        case _:
            return axis + len(after) - rank  # broadcasting adds dimensions in front


def _places(operation: Operation, weights: _Weights) -> list[int]:
    given: Any = operation.attributes.get("axes")
    if given is None and len(operation.inputs) > 1 and operation.inputs[1] in weights:
        given = decode(weights[operation.inputs[1]]).reshape(-1).tolist()
    return list(given or ())


def _open_sizes(
    operation: Operation, known: Mapping[str, Port], weights: _Weights, axes: Mapping[str, int], batch: int
) -> list[int] | None:
    """The sizes of a Reshape or Expand by a constant, for any number of examples."""
    if operation.op not in ("Reshape", "Expand") or operation.inputs[1] not in weights:
        return None
    sizes = decode(weights[operation.inputs[1]]).reshape(-1).tolist()
    axis, after = axes.get(operation.outputs[0]), _shape(operation.outputs[0], known)
    if operation.op == "Expand":
        place = 0 if axis is None or after is None else axis - (len(after) - len(sizes))
        if not sizes or place < 0 or sizes[place] != batch:
            return None
        return [1 if i == place else size for i, size in enumerate(sizes)]  # as many as there are
    if axis is None or after is None or 0 in after:
        return None
    return [-1 if i == axis else size for i, size in enumerate(after)]


def _single_rows(operations: Sequence[Operation], weights: _Weights, batch: int) -> dict[str, Weight]:
    """Weights of one row for each example that all are the same (a class token, written out), as that row."""
    readers: dict[str, set[str]] = defaultdict(set)
    for operation in operations:
        for name in operation.inputs:
            readers[name].add(operation.op)
    found: dict[str, Weight] = {}
    for name, weight in weights.items():
        if batch > 1 and readers[name] and readers[name] <= _BROADCAST and isinstance(weight, Dense):
            rows: _Array = weight.values
            if rows.ndim > 1 and len(rows) == batch and (rows == rows[:1]).all():
                found[name] = Dense(rows[:1].copy())
    return found
