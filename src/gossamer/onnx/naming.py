"""Short names that say what they can: names are bytes of the file; the same network gets the same ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count

from gossamer.artifact.program import Operation, Port, Program, Size
from gossamer.graph import Input

BATCH = "batch"


def tidy(
    program: Program, inputs: Sequence[Input], outputs: Sequence[str], owned: Collection[str]
) -> Program:
    """``program`` with the names that its user knows: ``inputs``, ``outputs``, in order, ``owned`` weights.

    Other constants become "c0", "c1", values between operations "0", "1". An operation is called after the
    layer whose weight it reads, where it is the first to do so, and else not at all. The batch size is
    "batch".
    """
    taken = {item.name for item in inputs} | set(owned)
    names = {port.name: item.name for port, item in zip(program.inputs, inputs, strict=True)}
    for port, name in zip(program.outputs, outputs, strict=True):
        if port.name not in names and port.name not in program.weights:
            names[port.name] = _fresh(name, taken)
    constants = (name for name in program.weights if name not in owned)
    values = (name for operation in program.operations for name in operation.outputs)
    _number(constants, "c", names, taken)
    _number(values, "", names, taken)
    symbols = _symbols(program, inputs)
    return replace(
        program,
        inputs=tuple(_port(port, names, symbols) for port in program.inputs),
        outputs=tuple(_port(port, names, symbols) for port in program.outputs),
        operations=tuple(_named(program.operations, names, owned)),
        weights={names.get(name, name): weight for name, weight in program.weights.items()},
    )


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _number(old: Iterable[str], prefix: str, names: dict[str, str], taken: set[str]) -> None:
    numbers = (f"{prefix}{number}" for number in count())
    for name in old:
        if name and name not in names:
            names[name] = next(number for number in numbers if number not in taken)


def _symbols(program: Program, inputs: Sequence[Input]) -> dict[str, str]:
    """The exporter's name of the batch size ("s77")."""
    return {
        str(port.shape[0]): BATCH
        for port, item in zip(program.inputs, inputs, strict=True)
        if item.batched and port.shape
    }


def _port(port: Port, names: dict[str, str], symbols: dict[str, str]) -> Port:
    def renamed(size: Size) -> Size:
        if not isinstance(size, str):
            return size
        return re.sub(r"\w+", lambda match: symbols.get(match[0], match[0]), size)

    shape = None if port.shape is None else tuple(renamed(size) for size in port.shape)
    return Port(names.get(port.name, port.name), port.dtype, shape)


def _named(
    operations: Iterable[Operation], names: dict[str, str], owned: Collection[str]
) -> Iterator[Operation]:
    layers: set[str] = set()
    for operation in operations:
        read = next((name for name in operation.inputs if name in owned), "")
        layer = read.rpartition(".")[0] or read
        name = "" if layer in layers else layer
        layers.add(layer)
        inputs = tuple(names.get(value, value) for value in operation.inputs)
        outputs = tuple(names.get(value, value) for value in operation.outputs)
        yield replace(operation, inputs=inputs, outputs=outputs, name=name)
