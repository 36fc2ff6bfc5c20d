"""``gossamer inspect``: what the bytes of a file are spent on, as in the tables of Han et al. 2016."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from gossamer.artifact import Description, Operation, Port, Program
from gossamer.cli.output import ABSENT, bits, count, percent, table
from gossamer.errors import InputError
from gossamer.measure.file import describe_file, measurement, naming
from gossamer.measure.profile import step_times
from gossamer.measure.records import LayerMeasurement, Measurement, Step

FLOAT32_BYTES = 4
_COLUMNS = ("weight", "shape", "weights", "kept", "bits/weight", "bits/index", "bytes", "of float32")
_WIDE_COLUMNS = ("MACs executed", "representation", "coder")  # left out where the terminal is narrow
_WIDE = 125


class Inspection:
    """One file, described and measured, as JSON or as tables; with ``plan`` also run, step by step.

    ``sizes``: of the inputs' open dimensions in that run, by name; 1 for those that are not named.
    """

    def __init__(self, path: Path, *, plan: bool = False, sizes: Mapping[str, int] | None = None) -> None:
        self.path, self.sizes = path, dict(sizes or {})
        self.description: Description = describe_file(path)
        self.measurement: Measurement = measurement(self.description)
        self.plan: tuple[Step, ...] | None = self._times() if plan else None

    def as_json(self) -> dict[str, Any]:
        """Everything; the bytes of all layers and ``overhead_bytes`` add up to ``file_bytes``."""
        measured = self.measurement
        return {
            "file": str(self.path),
            "file_bytes": measured.file_bytes,
            "overhead_bytes": self._overhead(),
            "parameters": measured.parameters,
            "parameters_kept": measured.parameters_kept,
            "float32_bytes": FLOAT32_BYTES * measured.parameters,
            "compression_rate": FLOAT32_BYTES * measured.parameters / measured.file_bytes,
            "macs": measured.macs,
            "macs_executed": measured.macs_executed,
            "layers": [asdict(layer) for layer in measured.layers],
            "program": _program(self.description.program),
            **({} if self.plan is None else {"plan": [asdict(step) for step in self.plan]}),
        }

    def as_tables(self, *, program: bool, width: int) -> Group:
        """The table of the layers, the totals, and with ``program`` the list of operations; ``width``: in columns."""
        parts: list[Any] = [self._layers(wide=width >= _WIDE), self._summary()]
        if program:
            parts.append(_operations(self.description.program))
        if self.plan is not None:
            parts.append(_steps(self.plan))
        return Group(*parts)

    def _times(self) -> tuple[Step, ...]:
        ports = self.description.program.inputs
        names = {size for port in ports for size in port.shape or () if isinstance(size, str)}
        with naming(self.path):
            if unknown := sorted(self.sizes.keys() - names):
                raise InputError(f"no input has an open dimension {unknown[0]!r}; there are {sorted(names)}")
            if any(port.shape is None for port in ports):
                return step_times(self.description.program)  # says which input
            try:
                return step_times(self.description.program, tuple(_zeros(port, self.sizes) for port in ports))
            except InputError as error:
                missing = sorted(names - self.sizes.keys())
                hint = f". Taken as 1: {', '.join(missing)}; choose with --size NAME=N" if missing else ""
                raise InputError(f"{error}{hint}") from error

    def _overhead(self) -> int:
        return self.measurement.file_bytes - sum(layer.bytes for layer in self.measurement.layers)

    def _layers(self, *, wide: bool) -> Table:
        measured = self.measurement
        columns = (*_COLUMNS, *_WIDE_COLUMNS) if wide else _COLUMNS
        overhead = ["program and header", "", "", "", "", "", count(self._overhead()), "", "", "", ""]
        total = [
            "file",
            "",
            count(measured.parameters),
            percent(measured.parameters_kept, measured.parameters),
            "",
            "",
            count(measured.file_bytes),
            percent(measured.file_bytes, FLOAT32_BYTES * measured.parameters),
            _macs(measured.macs, measured.macs_executed),
            "",
            "",
        ]
        rows = [*map(_layer_row, measured.layers), overhead, total]
        title = f"{self.path} (bits of a kept weight: before coding → in the file)"
        return table(title, columns, [row[: len(columns)] for row in rows], totals=2)

    def _summary(self) -> str:
        measured = self.measurement
        raw = FLOAT32_BYTES * measured.parameters
        if not raw:
            return f"{count(measured.file_bytes)} bytes, no parameters."
        return (
            f"{count(measured.file_bytes)} bytes for {count(measured.parameters)} parameters, "
            f"which take {count(raw)} bytes as float32: {raw / measured.file_bytes:.1f} times smaller."
        )


def _zeros(port: Port, sizes: Mapping[str, int]) -> np.ndarray[Any, Any]:
    shape = [sizes.get(n, 1) if isinstance(n, str) else n or 1 for n in port.shape or ()]
    return np.zeros(shape, port.dtype)


def _layer_row(layer: LayerMeasurement) -> list[str]:
    return [
        layer.name,
        "×".join(map(str, layer.shape)),
        count(layer.elements),
        percent(layer.kept, layer.elements),
        _coding(layer.weight_bits, layer.weight_bits_coded),
        _coding(layer.index_bits, layer.index_bits_coded),
        count(layer.bytes),
        percent(layer.bytes, FLOAT32_BYTES * layer.elements),
        _macs(layer.macs, layer.macs_executed),
        layer.representation,
        layer.coder,
    ]


def _coding(before: float | None, after: float | None) -> str:
    return bits(before) if after is None else f"{bits(before)} → {bits(after)}"


def _macs(dense: int | None, executed: int | None) -> str:
    if dense is None or executed is None:
        return ABSENT
    return count(dense) if dense == executed else f"{count(executed)} of {count(dense)}"


def _operations(program: Program) -> Table:
    ports = [_port("input", port) for port in program.inputs] + [
        _port("output", port) for port in program.outputs
    ]
    rows = [_operation(operation) for operation in program.operations]
    listed = Table(title="program", title_justify="left", title_style="bold")
    for column in ("operation", "inputs", "outputs", "attributes"):
        listed.add_column(column, overflow="fold")
    for row in [ports[0], *rows, *ports[1:]] if ports else rows:
        listed.add_row(*row)
    return listed


def _steps(steps: tuple[Step, ...]) -> Table:
    """Kernels and times; the notes of slower paths stand beneath the kernel."""
    whole = sum(step.microseconds or 0.0 for step in steps)
    weights, activations = sum(s.weight_bytes for s in steps), sum(s.activation_bytes for s in steps)
    rows = [
        [
            step.name or step.operator,
            step.operator,
            f"{step.kernel}\n({step.note})" if step.note else step.kernel,
            f"{', '.join(map(_sizes, step.inputs))} → {_sizes(step.output)}".lstrip(),
            step.layout,
            count(step.macs),
            count(step.weight_bytes),
            count(step.activation_bytes),
            f"{step.microseconds or 0.0:.2f}",
            percent(step.microseconds or 0.0, whole),
        ]
        for step in steps
    ]
    title = "plan (one thread; bytes of weights and of what is read and written; median times, step by step)"
    columns = ("step", "operator", "kernel", "shapes", "layout", "MACs", "weights", "tensors", "µs", "share")
    macs = sum(step.macs for step in steps)
    total = ["all steps", "", "", "", "", count(macs), count(weights), count(activations), f"{whole:.2f}", ""]
    return table(title, columns, [*rows, total], totals=1, words=5)


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "one"


def _port(kind: str, port: Port) -> list[str]:
    return [kind, port.name, f"{port.dtype} {_shape(port)}", ""]


def _shape(port: Port) -> str:
    return "of any rank" if port.shape is None else "×".join("?" if n is None else str(n) for n in port.shape)


def _operation(operation: Operation) -> list[str]:
    attributes = ", ".join(f"{key}={_short(value)}" for key, value in operation.attributes.items())
    return [operation.op, ", ".join(operation.inputs), ", ".join(operation.outputs), attributes]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _program(program: Program) -> dict[str, Any]:
    return {
        "inputs": [asdict(port) for port in program.inputs],
        "outputs": [asdict(port) for port in program.outputs],
        "operations": [
            {"op": o.op, "name": o.name, "inputs": list(o.inputs), "outputs": list(o.outputs)}
            for o in program.operations
        ],
        "opsets": dict(program.opsets),
        "metadata": dict(program.metadata),
    }
