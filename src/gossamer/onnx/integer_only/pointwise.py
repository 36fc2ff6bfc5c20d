"""Functions of one element: a table of 256 bytes, whatever chain of operators they are written as."""

from __future__ import annotations

import numpy as np

from gossamer.weights import Dense

from ..folding import fold
from .conversion import Conversion
from .values import Grid, Pointwise, Reals, Scaled

_INT32_TYPE = 6  # TensorProto.INT32, as the attribute of Cast says it


def function(c: Conversion) -> None:
    """Any function of one element, constants beside it."""
    if not of_constant(c):
        raise c.refuse("no function of one element of bytes")


def of_constant(c: Conversion) -> bool:
    """The operator on all 256 bytes of its only value; whether that was possible."""
    at = next(i for i, name in enumerate(c.at.inputs) if name in c.values)
    found = _pointwise(c, at)
    rest = {i: c.numbers(i) for i, name in enumerate(c.at.inputs) if name and i != at}
    if any(values is None or values.size != 1 for values in rest.values()):
        raise c.refuse("a function of one element with parameters that are not one constant each")
    return _apply(c, found, {**rest, at: found.reals.astype(np.float32)})  # type: ignore[dict-item]


def of_two(c: Conversion) -> bool:
    """The operator on two functions of the same byte."""
    a, b = _pointwise(c, 0), _pointwise(c, 1)
    if a.source.name != b.source.name:
        raise c.refuse(
            "of two functions of one element that are not quantized: nothing behind them has a range"
        )
    return _apply(c, a, {0: a.reals.astype(np.float32), 1: b.reals.astype(np.float32)})


def _apply(c: Conversion, found: Pointwise, inputs: dict[int, Reals]) -> bool:
    weights = {c.input(i): Dense(np.asarray(values)) for i, values in inputs.items()}
    if len(set(c.at.inputs)) < len(c.at.inputs):  # x * x
        weights = {c.input(0): Dense(np.asarray(inputs[0]))}
    results = fold(c.at, weights, c.program.opsets)
    if results is None or results[0].values.shape != (256,):
        raise c.refuse("its values cannot be computed while converting")
    c.give(Pointwise(found.source, np.nan_to_num(results[0].values.astype(np.float64))))
    return True


def _pointwise(c: Conversion, i: int) -> Pointwise:
    value = c.values.get(c.input(i))
    if isinstance(value, Pointwise):
        return value
    return Pointwise.of(c.scaled(i, bytes_only=True))


def table(c: Conversion, value: Pointwise, grid: Grid) -> Scaled:
    """The bytes looked up: Gather, for which a negative byte counts from the table's end."""
    index = c.emit("Cast", [value.source.name], {"to": _INT32_TYPE})
    made = c.emit("Gather", [c.hold(grid.nearest(value.reals), "table"), index], {"axis": 0})
    return Scaled(made, grid.dtype, np.asarray(grid.scale), grid.zero)


def clamp(c: Conversion) -> None:
    """Relu, Clip, Max and Min with constants: the saturation of the requantization that follows."""
    if c.input(0) in c.entering:
        name, low, high = c.entering[c.input(0)]
        least, most = _bounds(c)
        c.entering[c.at.outputs[0]] = (name, max(low, least), min(high, most))
        return
    value = c.values.get(c.input(0) if c.input(0) in c.values else c.input(1))
    if isinstance(value, Pointwise):
        function(c)
        return
    if len([name for name in c.at.inputs if name in c.values]) > 1:
        raise c.refuse("the greater of two values: no integer form")
    least, most = _bounds(c)
    at = 0 if c.input(0) in c.values else 1
    c.give(c.scaled(at).clamped(least, most))


def _bounds(c: Conversion) -> tuple[float, float]:
    if c.at.op == "Relu":
        return 0.0, np.inf
    places = {"Clip": (1, 2), "Max": (0, 1), "Min": (0, 1)}[c.at.op]
    found = [c.constant(i) if c.input(i) and c.input(i) not in c.values else None for i in places]
    missing = [
        i
        for i, f in zip(places, found, strict=True)
        if f is None and c.input(i) and c.input(i) not in c.values
    ]
    if missing or any(f is not None and f.size != 1 for f in found):
        raise c.refuse("bounds that are not one constant each")
    numbers = [None if f is None else float(f.reshape(-1)[0]) for f in found]
    if c.at.op == "Clip":
        return (-np.inf if numbers[0] is None else numbers[0]), (np.inf if numbers[1] is None else numbers[1])
    bound = next(n for n in numbers if n is not None)
    return (bound, np.inf) if c.at.op == "Max" else (-np.inf, bound)
