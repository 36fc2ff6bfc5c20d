"""Operators that move elements: the same on integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gossamer.artifact.program import Operation
from gossamer.weights import shape, transpose

from .attention import SOFTMAX_SCALES, within
from .conversion import Conversion
from .values import BYTES, Grid, Pointwise, Scaled

_LOWEST = -(2**30)  # what stands for minus infinity: a mask in front of a softmax


def moved(c: Conversion) -> None:
    """The operator on the integers of its first input; all its outputs have their scale."""
    x = _of_one_scale(c)
    c.operations.append(replace(c.at, inputs=(x.name, *c.at.inputs[1:])))
    for i, name in enumerate(c.at.outputs):
        if name:
            c.give(replace(x, name=name), i)


def transposed(c: Conversion) -> None:
    """Transpose: of a weight, which is then stored so; else the elements moved."""
    weight = c.given.get(c.input(0))
    if weight is None:
        moved(c)
        return
    order = c.at.attributes.get("perm", tuple(reversed(range(len(shape(weight))))))
    c.given[c.at.outputs[0]] = transpose(weight, order)  # type: ignore[arg-type]


def measured(c: Conversion) -> None:
    """Shape and Size: of the integers, or of an input of the network."""
    value = c.values.get(c.input(0))
    name = value.source.name if isinstance(value, Pointwise) else value.name if value else c.input(0)
    c.operations.append(replace(c.at, inputs=(name,)))


def same(c: Conversion) -> None:
    """Identity: the value itself."""
    found = c.values.get(c.input(0))
    if found is None:
        raise c.refuse("its input is not quantized")
    c.give(found)


def _of_one_scale(c: Conversion) -> Scaled:
    x = c.scaled(0)
    if not x.is_one:
        raise c.refuse("it moves sums whose channels have scales of their own: quantize its input")
    return x


def padded(c: Conversion) -> None:
    """Pad: with what zero is in integers."""
    x = _of_one_scale(c)
    fill = c.numbers(2) if c.input(2) else None
    if c.at.attributes.get("mode", "constant") == "constant" and (fill is None) != (not c.input(2)):
        raise c.refuse("padding with a value that is no constant")
    x = c.clamped(x) if x.is_clamped else x
    real = 0.0 if fill is None else float(fill.reshape(()))
    info = np.iinfo(x.dtype)
    grid = Grid(float(x.scale), x.zero, x.dtype, int(info.min), int(info.max))
    filling = c.hold(grid.nearest(real), "fill")
    inputs = (x.name, c.input(1), filling, *c.at.inputs[3:])
    c.operations.append(Operation("Pad", inputs, c.at.outputs, c.at.attributes, c.at.name))
    c.give(replace(x, name=c.at.outputs[0]))


def chosen(c: Conversion) -> None:
    """Where with a constant on one side, as masks have it, or of two values in the result's integers."""
    sides = [c.numbers(i) for i in (1, 2)]
    if sides[0] is not None and sides[1] is not None:
        raise c.refuse("both sides are constants, and float32")
    if sides[0] is None and sides[1] is None:
        grid = c.target()
        names = [c.requantized(c.scaled(i), grid) for i in (1, 2)]
        c.give(Scaled(c.emit("Where", [c.input(0), *names]), grid.dtype, np.asarray(grid.scale), grid.zero))
        return
    at = 1 if sides[0] is None else 2
    x = c.scaled(at, plain=True)
    if any(reader.op == "Softmax" for reader in c.readers[c.at.outputs[0]]):
        x = within(c, x, SOFTMAX_SCALES)  # in whose steps what is masked is far enough below the others
    if not x.is_one:
        raise c.refuse("a mask on sums whose channels have scales of their own")
    constant = sides[2 - at]
    assert constant is not None  # one of the two is
    info = np.iinfo(x.dtype)
    low = int(info.min) if x.dtype in BYTES else _LOWEST
    grid = Grid(float(x.scale), x.zero, x.dtype, low, int(info.max))
    names = [x.name, c.hold(grid.nearest(constant.astype(np.float64)), "masked")]
    made = c.emit("Where", [c.input(0), *(names if at == 1 else reversed(names))])
    c.give(replace(x, name=made))


def concatenated(c: Conversion) -> None:
    """Concat: of all parts in the result's integers."""
    grid = c.target()
    parts = []
    for i, name in enumerate(c.at.inputs):
        constant = c.constant(i)
        if constant is not None:
            parts.append(c.hold(grid.nearest(constant), name + ".ints"))
        else:
            parts.append(c.requantized(c.scaled(i), grid))
    made = c.emit("Concat", parts, c.at.attributes)
    c.give(Scaled(made, grid.dtype, np.asarray(grid.scale), grid.zero))


def expanded(c: Conversion) -> None:
    """Expand: of a constant too (a class token), in 16 bits of its own."""
    constant = c.constant(0)
    if constant is None:
        moved(c)
        return
    scale = float(np.abs(constant).max()) / 32767 or 1.0
    grid = Grid(scale, 0, "int32", -32768, 32767)
    name = c.emit("Expand", [c.hold(grid.nearest(constant), c.input(0) + ".ints"), c.input(1)])
    c.give(Scaled(name, "int32", np.asarray(scale)))
