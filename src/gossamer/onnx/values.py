"""What is known beforehand of the values between operations: type, shape, contents of shape arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ValueInfoProto

from gossamer.artifact.program import Operation, Port, Program, Size
from gossamer.errors import FormatError, UnsupportedError
from gossamer.weights import Dense, Weight, dtype, shape

from .exporting import to_onnx
from .ports import port

# A small integer tensor as far as it is known: integers, and names of symbolic dimensions.
Sizes = npt.NDArray[np.object_]
_MAX_SIZES = 64
_INT64 = 7  # TensorProto.INT64, as the attribute of Cast says it


def infer(program: Program) -> dict[str, Port]:
    """Type and shape of every value whose type and shape ONNX's own inference finds, weights included."""
    # Not with data_prop: it writes out what ConstantOfShape makes, however large.
    model = onnx.shape_inference.infer_shapes(to_onnx(_light(program)))
    return ports([*model.graph.value_info, *model.graph.input, *model.graph.output])


def ports(values: Iterable[ValueInfoProto]) -> dict[str, Port]:
    """Those of ``values`` that are numeric tensors, by name."""
    found = {}
    for value in values:
        try:
            found[value.name] = port(value, "value")
        except (FormatError, UnsupportedError):
            continue
    return found


def weight_ports(weights: Mapping[str, Weight]) -> dict[str, Port]:
    """Type and shape of weights, by name."""
    return {name: Port(name, dtype(weight).name, shape(weight)) for name, weight in weights.items()}


def _light(program: Program) -> Program:
    """The program with its large weights as inputs: inference needs their shapes alone."""
    small = {
        name: weight
        for name, weight in program.weights.items()
        if isinstance(weight, Dense) and weight.values.size <= _MAX_SIZES
    }
    large = weight_ports({name: weight for name, weight in program.weights.items() if name not in small})
    inputs = (*program.inputs, *large.values())
    return Program(inputs, program.outputs, program.operations, small, program.opsets)


class Known:
    """Types, shapes and contents of values, by name; contents grow while a program is walked in order."""

    def __init__(self, known_ports: Mapping[str, Port], weights: Mapping[str, Weight]) -> None:
        self.ports = {**known_ports, **weight_ports(weights)}
        self.weights = weights
        self.contents: dict[str, Sizes] = {}

    def update(self, name: str) -> None:
        """Look again at the weight called ``name``."""
        self.ports.update(weight_ports({name: self.weights[name]}))

    def dtype(self, name: str) -> str | None:
        """NumPy's name of the element type of a value."""
        return self.ports[name].dtype if name in self.ports else None

    def shape(self, name: str) -> tuple[Size, ...] | None:
        """The shape of a value; None where its rank is unknown."""
        return self.ports[name].shape if name in self.ports else None

    def full_shape(self, name: str) -> tuple[int | str, ...] | None:
        """The shape of a value where every size of it is a number or a named dimension."""
        sizes = self.shape(name)
        return None if sizes is None or None in sizes else sizes  # type: ignore[return-value]

    def sizes(self, name: str) -> Sizes | None:
        """What a small integer tensor holds."""
        if name in self.contents:
            return self.contents[name]
        weight = self.weights.get(name)
        if not isinstance(weight, Dense) or weight.values.dtype != np.int64:
            return None
        return weight.values.astype(object) if weight.values.size <= _MAX_SIZES else None

    def learn(self, operation: Operation) -> Sizes | None:
        """What the output of ``operation`` holds, if it is shape arithmetic; remembered."""
        found = _shape_of(operation, self) if operation.op == "Shape" else self._moved(operation)
        if found is not None:
            self.contents[operation.outputs[0]] = found
        return found

    def _moved(self, operation: Operation) -> Sizes | None:
        """Operators that move sizes about without computing with them."""
        move = _MOVES.get(operation.op)
        if move is None or operation.domain:
            return None
        inputs = [self.sizes(name) if name else None for name in operation.inputs]
        if any(known is None for name, known in zip(operation.inputs, inputs, strict=True) if name):
            return None
        try:
            return np.asarray(move(operation, inputs), dtype=object)
        except (ValueError, IndexError, TypeError, KeyError):  # symbolic axes and the like
            return None


def _shape_of(operation: Operation, known: Known) -> Sizes | None:
    sizes = known.shape(operation.inputs[0])
    if sizes is None:
        return None
    start, end = operation.attributes.get("start"), operation.attributes.get("end")
    part = sizes[start:end]  # type: ignore[index]
    return None if None in part else np.array(part, dtype=object)


def _axes(operation: Operation, inputs: list[Any]) -> tuple[int, ...] | None:
    axes = inputs[1] if len(inputs) > 1 else operation.attributes.get("axes")
    return None if axes is None else tuple(int(axis) for axis in np.asarray(axes).reshape(-1))


def _cast(operation: Operation, inputs: list[Any]) -> Any:
    if operation.attributes.get("to") != _INT64:
        raise ValueError("sizes are 64-bit integers")
    return inputs[0]


def _slice(operation: Operation, inputs: list[Any]) -> Any:
    if len(inputs) < 3 or inputs[0].ndim != 1:
        raise ValueError("slices of vectors, bounds as inputs")
    step = 1 if len(inputs) < 5 or inputs[4] is None else int(inputs[4].item())
    end = int(inputs[2].item())
    if step < 1:
        raise ValueError("forward slices")
    return inputs[0][int(inputs[1].item()) : end : step]


_MOVES: dict[str, Any] = {
    "Identity": lambda operation, inputs: inputs[0],
    "Cast": _cast,
    "Concat": lambda operation, inputs: np.concatenate(inputs, axis=operation.attributes["axis"]),
    "Gather": lambda operation, inputs: np.take(
        inputs[0], inputs[1].astype(np.int64), axis=operation.attributes.get("axis", 0)
    ),
    "Reshape": lambda operation, inputs: inputs[0].reshape([int(size) for size in inputs[1]]),
    "Slice": _slice,
    "Squeeze": lambda operation, inputs: np.squeeze(inputs[0], axis=_axes(operation, inputs)),
    "Unsqueeze": lambda operation, inputs: np.expand_dims(inputs[0], axis=_axes(operation, inputs) or 0),
}
