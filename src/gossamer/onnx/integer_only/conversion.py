"""A Program under conversion: the integers that values became, and the operations written so far."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gossamer.artifact.program import Attribute, Operation, Port, Program
from gossamer.errors import UnsupportedError
from gossamer.numerics import integers
from gossamer.weights import Dense, Weight, dtype, shape

from .values import BYTES, INT32, Grid, Pointwise, Reals, Scaled, Value

DOMAIN = "gossamer"
_OWN = ("Requantize", "IntegerSoftmax", "IntegerGelu", "IntegerLayerNorm")  # its operators
_SUM_BITS = 12  # that sums of bytes are finer than their result


class Conversion:
    """The operations and weights of the new Program, by the names of the old one where they are the same values."""

    def __init__(self, program: Program, ports: Mapping[str, Port]) -> None:
        self.program, self.ports = program, ports
        self.values: dict[str, Value] = {}
        # Floats at the border: an input of the Program, or one that is clamped before it is quantized.
        self.entering = {port.name: (port.name, -math.inf, math.inf) for port in program.inputs}
        self.given = dict(program.weights)  # and those that were only transposed
        self.weights: dict[str, Weight] = dict(program.weights)
        self.operations: list[Operation] = []
        self.constants: dict[tuple[str, str, tuple[int, ...], bytes], str] = {}
        self.readers: dict[str, list[Operation]] = defaultdict(list)
        for operation in program.operations:
            for name in operation.inputs:
                self.readers[name].append(operation)
        self.taken = {name for operation in program.operations for name in operation.outputs} | set(
            program.weights
        )
        self.taken |= {port.name for port in program.inputs}
        self.at = Operation("", (), ())  # the operation that is being converted

    # --- reading the old Program -----------------------------------------------------------------------------------

    def refuse(self, why: str) -> UnsupportedError:
        """The error of the operation that is being converted."""
        at = self.at
        layer = at.name or next((n.rpartition(".")[0] for n in at.inputs if n in self.program.weights), "")
        where = layer or f"the one that makes {at.outputs[0]!r}"
        return UnsupportedError(f"integer-only: operator {at.op} of layer {where}: {why}")

    def input(self, i: int) -> str:
        """Name of input ``i`` of the operation; "" where it is absent."""
        return self.at.inputs[i] if i < len(self.at.inputs) else ""

    def scaled(self, i: int, bytes_only: bool = False, plain: bool = False) -> Scaled:
        """Input ``i`` as integers. ``bytes_only``: 8 bits; ``plain``: without a clamp that waits."""
        value = self.values.get(self.input(i))
        if isinstance(value, Pointwise):
            raise self.refuse("its input is not quantized: a function of one element comes before it")
        if value is None:
            raise self.refuse(f"its input {self.input(i)!r} is float32 and not quantized")
        if bytes_only and value.dtype not in BYTES:
            raise self.refuse(f"its input {self.input(i)!r} is not quantized to 8 bits")
        return self.clamped(value) if plain and value.is_clamped else value

    def constant(self, i: int) -> Reals | None:
        """Input ``i`` where it is a float constant."""
        weight = self.program.weights.get(self.input(i))
        found = isinstance(weight, Dense) and weight.values.dtype.kind == "f"
        return weight.values.astype(np.float64) if found and isinstance(weight, Dense) else None

    def numbers(self, i: int) -> npt.NDArray[np.generic] | None:
        """Input ``i`` where it is any plain constant."""
        weight = self.program.weights.get(self.input(i))
        return weight.values if isinstance(weight, Dense) else None

    def sizes(self, name: str) -> tuple[int | str | None, ...]:
        """The shape of a value of the old Program; an error where not even its rank is known."""
        found = shape(self.program.weights[name]) if name in self.program.weights else None
        if found is None and name in self.ports:
            found = self.ports[name].shape  # type: ignore[assignment]
        if found is None:
            raise self.refuse(f"the shape of {name!r} is not known")
        return found

    def is_float(self, name: str) -> bool:
        """Whether a value of the old Program is made of floats."""
        if name in self.program.weights:
            return dtype(self.program.weights[name]).kind == "f"
        return name in self.ports and self.ports[name].dtype.startswith("float")

    def target(self) -> Grid:
        """What the operation's result is quantized to, behind a clamp or not; the finest where there are more."""
        found = self._grids(self.at.outputs[0])
        if not found:
            raise self.refuse("its result has no range: nothing behind it is quantized")
        return min(found, key=lambda grid: grid.scale)

    def _grids(self, name: str) -> list[Grid]:
        found = []
        for reader in self.readers[name]:
            if reader.op == "QuantizeLinear":
                found.append(self.grid(reader))
            elif reader.op in ("Relu", "Clip", "Max", "Min", "Identity"):
                found += self._grids(reader.outputs[0])
        return found

    def grid(self, quantize: Operation) -> Grid:
        """The integers of a QuantizeLinear: bytes, or 16 bits held in int32."""
        held = [self.program.weights.get(name) for name in quantize.inputs[1:3]]
        scale, zero = (h.values if isinstance(h, Dense) else None for h in held)
        if scale is None or zero is None or scale.size != 1 or zero.size != 1:
            raise self.refuse("a quantization whose scale and zero point are not one constant each")
        info = np.iinfo(zero.dtype.name)
        held_as = zero.dtype.name if zero.dtype.name in BYTES else "int32"
        return Grid(float(scale.reshape(())), int(zero.reshape(())), held_as, int(info.min), int(info.max))

    # --- writing the new one ---------------------------------------------------------------------------------------

    def fresh(self, like: str) -> str:
        """A name that is not taken."""
        name, n = like, 1
        while name in self.taken:
            name, n = f"{like}.{n}", n + 1
        self.taken.add(name)
        return name

    def hold(self, values: npt.NDArray[np.generic], like: str) -> str:
        """The name of a constant."""
        values = np.asarray(values, order="C")
        key = (like, values.dtype.str, values.shape, values.tobytes())
        if key not in self.constants:
            self.constants[key] = self.fresh(like)
            self.weights[self.constants[key]] = Dense(values)
        return self.constants[key]

    def replaced(self, values: npt.NDArray[np.generic], name: str) -> str:
        """The name of the integers of a layer's weight: its own, for the first form in which it is used."""
        old = self.weights.get(name)
        key = (name, values.dtype.str, values.shape, values.tobytes())
        if old is None or old is not self.program.weights.get(name):
            return self.hold(values, name)
        self.constants[key] = name
        self.weights[name] = Dense(np.asarray(values, order="C"))
        return name

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Attribute] | None = None,
        output: str = "",
    ) -> str:
        """Write an operation; the name of its output, a new one unless given."""
        made = output or self.fresh(f"{self.at.outputs[0]}.{op}")
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        domain = DOMAIN if op in _OWN else ""
        self.operations.append(Operation(op, tuple(inputs), (made,), attributes or {}, self.at.name, domain))
        return made

    def rename(self, old: str, new: str) -> None:
        """Call a value that an operation made otherwise."""
        self.operations[:] = [
            replace(o, inputs=_renamed(o.inputs, old, new), outputs=_renamed(o.outputs, old, new))
            for o in self.operations
        ]
        self.values = {
            name: replace(value, name=new) if isinstance(value, Scaled) and value.name == old else value
            for name, value in self.values.items()
        }

    def point(self, zero: int, kind: str) -> str:
        """The name of a zero point; "" for none."""
        return self.hold(np.asarray(zero, kind), "zero_point") if zero else ""

    def requantized(
        self, x: Scaled, grid: Grid, factor: Reals | float = 1.0, axis: int | None = None, output: str = ""
    ) -> str:
        """``x`` times ``factor`` as integers of ``grid``, its clamp applied; by one Requantize, or as it is."""
        ratio = np.asarray(x.scale * factor / grid.scale, np.float64)
        if self._is_already(x, grid, ratio) and not output:
            return x.name
        pairs = [self._fixed_point(float(r)) for r in ratio.reshape(-1)]
        shape_ = () if ratio.size == 1 else (-1,)
        m, n = (np.array(part, np.int32).reshape(shape_) for part in zip(*pairs, strict=True))
        low, high = (int(b) for b in grid.nearest(np.array([x.least, x.most])))
        natural = INT32 if grid.dtype == "int32" else (np.iinfo(grid.dtype).min, np.iinfo(grid.dtype).max)
        attributes: dict[str, Attribute] = {}
        if low > natural[0]:
            attributes["low"] = low
        if high < natural[1]:
            attributes["high"] = high
        if ratio.size > 1:
            attributes["axis"] = x.axis if axis is None else axis
        zero = (
            ""
            if grid.dtype == "int32" and not grid.zero
            else self.hold(np.asarray(grid.zero, grid.dtype), "zero_point")
        )
        inputs = [
            x.name,
            self.hold(m, "multiplier"),
            self.hold(n, "shift"),
            zero,
            self.point(x.zero, x.dtype),
        ]
        return self.emit("Requantize", inputs, attributes, output)

    def _is_already(self, x: Scaled, grid: Grid, ratio: Reals) -> bool:
        same = x.dtype == grid.dtype and x.zero == grid.zero and bool((ratio == 1).all())
        return same and not x.is_clamped and (x.dtype in BYTES or not x.is_sum)

    def _fixed_point(self, ratio: float) -> tuple[int, int]:
        try:
            multiplier, shift = integers.fixed_point(abs(ratio))
        except ValueError as error:
            raise self.refuse(f"{error}; look for a range that is nearly empty") from None
        return (-multiplier if ratio < 0 else multiplier), shift

    def clamped(self, x: Scaled) -> Scaled:
        """``x`` with its clamp applied, where nothing behind it does."""
        if not x.is_one:
            raise self.refuse("a clamp of sums that are not quantized behind it")
        natural = np.iinfo(x.dtype)
        same = Grid(float(x.scale), x.zero, x.dtype, int(natural.min), int(natural.max))
        return Scaled(self.requantized(x, same), x.dtype, x.scale, x.zero)

    def finer(self) -> Grid:
        """int32 in which sums are made that become the operation's result: 12 bits finer than bytes, 6 than 16 bits."""
        target = self.target()
        bits = _SUM_BITS if target.dtype in BYTES else _SUM_BITS // 2
        return Grid(target.scale * 2.0**-bits, 0, "int32", *INT32)

    def give(self, value: Value, i: int = 0) -> None:
        """What output ``i`` of the operation is."""
        self.values[self.at.outputs[i]] = value


def _renamed(names: Sequence[str], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)
