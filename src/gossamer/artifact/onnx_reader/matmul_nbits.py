"""MatMulNBits of domain com.microsoft: ONNX Runtime's product with weights of 2, 4 or 8 bits in blocks along a row.

Y = A W^T + bias, W of shape (N, K) as ``bits`` little-endian within each byte of B, (N, ceil(K / block_size), bytes of
a block): r = scale (q - zero_point), with 2^(bits-1) where there are no zero points. A Program has a MatMul with a
Quantized weight of shape (K, N) instead, its blocks along the first axis, and an Add of the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gossamer.artifact.program import Operation
from gossamer.errors import FormatError, WeightError
from gossamer.weights import Dense, Quantized, Weight

from .microsoft import DOMAIN

_FLOATS = {"float32": 1, "float16": 10}  # ONNX's numbers of types
Bytes = npt.NDArray[np.uint8]


def written_out(operations: Sequence[Operation], weights: dict[str, Weight]) -> list[Operation]:
    """``operations`` with the products that can be said so; ``weights`` gets theirs, and loses the packed ones.

    Left as they are: inputs that are no constants, a permutation of rows (g_idx), zero points of floats. FormatError
    where sizes contradict each other.
    """
    kept: list[Operation] = []
    packed: set[str] = set()
    for operation in operations:
        product = _Product.of(operation, weights)
        if product is None:
            kept.append(operation)
            continue
        packed.update(name for name in operation.inputs[1:4] if name)
        name = f"{operation.inputs[1]}/matrix"
        weights.setdefault(name, product.weight())
        kept += product.operations(name)
    read = {name for operation in kept for name in operation.inputs}
    for name in packed - read:
        weights.pop(name, None)
    return kept


class _Product:
    """One MatMulNBits whose weight is constant."""

    def __init__(
        self, whole: Operation, packed: Bytes, scale: npt.NDArray[np.floating], zero: Bytes | None
    ) -> None:
        self.whole, self._scale, self._packed, self._zero = whole, scale, packed, zero
        sizes = (whole.attributes.get(key, default) for key, default in _SIZES.items())
        self._inputs, self._outputs, self._bits, self._block = (s if isinstance(s, int) else 0 for s in sizes)
        if min(self._inputs, self._outputs, self._block) < 1 or self._bits not in (2, 4, 8):
            raise FormatError(
                f"{self._place}: K, N, bits and block_size are {self._inputs}, {self._outputs}, {self._bits} and "
                f"{self._block}; the first two and the last are 1 or more, bits 2, 4 or 8"
            )

    @classmethod
    def of(cls, operation: Operation, weights: dict[str, Weight]) -> _Product | None:
        """None where it is another operation, or cannot be said otherwise."""
        if (operation.domain, operation.op) != (DOMAIN, "MatMulNBits"):
            return None
        names = (*operation.inputs, *[""] * 6)
        packed, scale, zero = (_values(weights.get(name)) for name in names[1:4])
        if names[4] or operation.attributes.get("weight_prepacked", 0) or (zero is None and names[3]):
            return None
        if packed is None or scale is None or scale.dtype.name not in _FLOATS:
            return None
        if {each.dtype.name for each in (packed, zero) if each is not None} != {"uint8"}:
            return None
        return cls(operation, packed, scale, zero)

    @property
    def _place(self) -> str:
        return f"operator 'MatMulNBits' (node {self.whole.name or self.whole.outputs[0]!r})"

    def weight(self) -> Quantized:
        """Of shape (K, N). A negative scale s (q - z) is -s ((m - q) - (m - z)), m the largest integer."""
        blocks, most = -(-self._inputs // self._block), np.uint8((1 << self._bits) - 1)
        ints = self._unpacked(self._packed, "B", blocks * self._block)[:, : self._inputs]
        scale = self._shaped(self._scale.astype(np.float32), "scales", blocks)
        zero: Bytes = np.full_like(scale, most // 2 + 1, np.uint8)
        if self._zero is not None:
            zero = self._unpacked(self._zero, "zero_points", blocks)
        negative, none = scale < 0, scale == 0
        zero = np.where(negative, most - zero, zero)
        ints = np.where(self._spread(negative), most - ints, ints)
        ints = np.where(self._spread(none), self._spread(zero), ints)
        scale = np.where(none, np.float32(1), np.abs(scale))
        ints, scale, zero = (np.ascontiguousarray(part.T) for part in (ints, scale, zero))
        try:
            return Quantized(ints, scale, zero, axis=0, bits=self._bits, block=min(self._block, self._inputs))
        except WeightError as error:
            raise FormatError(f"{self._place}: {error}") from error

    def operations(self, weight: str) -> list[Operation]:
        """The product, in float32, with its bias."""
        value, last = self.whole.inputs[0], self.whole.outputs[0]
        bias = self.whole.inputs[5] if len(self.whole.inputs) > 5 else ""
        half = self._scale.dtype == np.float16
        found: list[Operation] = []

        def add(op: str, inputs: tuple[str, ...], to: int | None = None) -> str:
            result = f"{last}/{len(found)}"
            found.append(Operation(op, inputs, (result,), {} if to is None else {"to": to}))
            return result

        if half:
            value = add("Cast", (value,), _FLOATS["float32"])
        value = add("MatMul", (value, weight))
        if half:
            value = add("Cast", (value,), _FLOATS["float16"])
        if bias:
            add("Add", (value, bias))
        found[-1] = Operation(found[-1].op, found[-1].inputs, (last,), found[-1].attributes, self.whole.name)
        return found

    def _spread(self, of_blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One for each block, as one for each input."""
        return np.repeat(of_blocks, self._block, 1)[:, : self._inputs]

    def _unpacked(self, packed: Bytes, what: str, columns: int) -> Bytes:
        """(N, columns), each row in whole bytes."""
        rows = self._shaped(packed, what, -(-columns * self._bits // 8))
        shifts = np.arange(0, 8, self._bits, dtype=np.uint8)
        fields = rows[:, :, None] >> shifts & np.uint8((1 << self._bits) - 1)
        return fields.reshape(len(rows), -1)[:, :columns]

    def _shaped(self, values: npt.NDArray[np.generic], what: str, columns: int) -> npt.NDArray[Any]:
        if values.size != self._outputs * columns:
            raise FormatError(
                f"{self._place}: {what} has {values.size} elements; K={self._inputs}, N={self._outputs}, "
                f"bits={self._bits}, block_size={self._block} need {self._outputs * columns}"
            )
        return values.reshape(self._outputs, columns)


def _values(weight: Weight | None) -> npt.NDArray[Any] | None:
    return weight.values if isinstance(weight, Dense) else None


_SIZES = {"K": 0, "N": 0, "bits": 4, "block_size": 0}
