"""simplify: the same results from fewer operations, by the rules of :mod:`gossamer.onnx.rules`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from gossamer.artifact.program import Operation, Port, Program
from gossamer.weights import Dense

from . import values
from .rules import RULES, State

_MAX_ROUNDS = 100  # what one round writes down, the next one infers shapes from
_MAX_SHARED = 16  # elements of a constant that is looked for among the others


def simplify(program: Program, known: Mapping[str, Port] | None = None) -> Program:
    """``program`` without what need not run: constants folded, shape arithmetic done, dead code removed.

    ``known``: types and shapes of values between operations, where the caller knows more than ONNX's own
    inference. Inputs, outputs and the names of weights stay; weights keep their representation (only plain
    ones are folded); a transposed one is stored transposed. Results are the same for every input, up to the
    rounding of folded floats.
    """
    given = set(program.weights)
    for _ in range(_MAX_ROUNDS):
        inferred = values.infer(program)
        simpler = _round(program, {**inferred, **(known or {})}, given)
        simpler = without_dead(_with_shared_constants(_with_direct_outputs(simpler), given))
        if _size(simpler) == _size(program):
            return simpler
        program = simpler
    return program


def _size(program: Program) -> tuple[int, int, int]:
    attributes = sum(len(operation.attributes) for operation in program.operations)
    return len(program.operations), sum(map(len, _inputs(program))), attributes


def _inputs(program: Program) -> Iterator[tuple[str, ...]]:
    return (operation.inputs for operation in program.operations)


def _round(program: Program, ports: Mapping[str, Port], given: set[str]) -> Program:
    """One walk through the operations in order, every rule tried on each."""
    weights = dict(program.weights)
    uses = Counter(name for names in _inputs(program) for name in names)
    uses.update(port.name for port in program.outputs)
    known = values.Known(ports, weights)
    outputs = frozenset(port.name for port in program.outputs)
    state = State(program.opsets, weights, known, uses, set(weights) - given, outputs)
    names: dict[str, str] = {}
    kept = []
    for operation in program.operations:
        operation = replace(operation, inputs=tuple(names.get(name, name) for name in operation.inputs))
        result = _rewritten(operation, state)
        if isinstance(result, str):
            names[operation.outputs[0]] = result
            state.uses[result] += state.uses[operation.outputs[0]] - 1
        elif isinstance(result, Operation):
            kept.append(result)
    operations = tuple(kept)
    return replace(program, operations=operations, weights=state.weights)


def _rewritten(operation: Operation, state: State) -> str | Operation | None:
    """The operation after all rules, the name of the value that it equals, or None where it became weights.

    What writes an output of the program can only become another operation.
    """
    fixed = not state.outputs.isdisjoint(operation.outputs)
    for rule in RULES:
        result = rule(operation, state)
        if isinstance(result, Operation):
            operation = result
        elif isinstance(result, str) and not fixed:
            return result
        elif isinstance(result, list) and not fixed:
            names = [name for name in operation.outputs if name]
            state.weights.update(zip(names, result, strict=True))
            state.computed.update(names)
            return None
    return operation


def _with_direct_outputs(program: Program) -> Program:
    """Where an output is Identity of an operation's result, that operation writes the output itself."""
    written = {name for operation in program.operations for name in operation.outputs}
    outputs = {port.name for port in program.outputs}
    names: dict[str, str] = {}
    copies = [op for op in program.operations if op.op == "Identity" and not op.domain]
    for copy in copies:
        if copy.outputs[0] in outputs and copy.inputs[0] in written - outputs:
            names.setdefault(copy.inputs[0], copy.outputs[0])
    kept = [op for op in program.operations if op not in copies or names.get(op.inputs[0]) != op.outputs[0]]
    return replace(program, operations=tuple(_renamed(kept, names)))


def _renamed(operations: Iterable[Operation], names: Mapping[str, str]) -> Iterator[Operation]:
    for operation in operations:
        inputs = tuple(names.get(name, name) for name in operation.inputs)
        outputs = tuple(names.get(name, name) for name in operation.outputs)
        yield replace(operation, inputs=inputs, outputs=outputs)


def _with_shared_constants(program: Program, given: set[str]) -> Program:
    """Small constants that folding made, and scalars and shapes, are there once."""
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    names: dict[str, str] = {}
    for name, weight in program.weights.items():
        if not isinstance(weight, Dense) or weight.values.size > _MAX_SHARED:
            continue
        if name not in given or _is_argument(weight):
            array = weight.values
            names[name] = first.setdefault((array.dtype.str, array.shape, array.tobytes()), name)
    return replace(program, operations=tuple(_renamed(program.operations, names)))


def _is_argument(weight: Dense) -> bool:
    return weight.values.ndim == 0 or (weight.values.dtype == np.int64 and weight.values.ndim == 1)


def without_dead(program: Program) -> Program:
    """``program`` without operations and weights that no output depends on."""
    alive = {port.name for port in program.outputs}
    kept = []
    for operation in reversed(program.operations):
        if not alive.isdisjoint(operation.outputs):
            kept.append(operation)
            alive.update(operation.inputs)
    weights = {name: weight for name, weight in program.weights.items() if name in alive}
    return replace(program, operations=tuple(reversed(kept)), weights=weights)
