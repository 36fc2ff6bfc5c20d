"""Operators of domain com.microsoft that ONNX Runtime's quantizer writes, as operators of the standard.

QuantizeLinear and DequantizeLinear, of 16 and of 4 bits in operator sets below 21, which do not have them, are the
standard's of set 21, attribute for attribute. So a Program has the standard ones, and a file that is written from it
those of com.microsoft again, where its operator set needs them. QLinearAdd, QGemm and the others of the format
"QOperator" become what they mean: integers to floats, the plain operator, floats to integers; kernels of integers
compute all three in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gossamer.artifact.program import Attribute, Operation

DOMAIN = "com.microsoft"
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_FLOAT = 1  # ONNX's number of float32


def standard(operation: Operation) -> tuple[Operation, ...]:
    """``operation`` in the standard's domain; itself where that cannot say the same."""
    if operation.domain != DOMAIN:
        return (operation,)
    if operation.op in QUANTIZERS:
        return (replace(operation, domain=""),)
    write_out = _WRITTEN_OUT.get(operation.op)
    written_out = write_out(operation) if write_out is not None else None
    return (operation,) if written_out is None else tuple(written_out)


def opsets_of(opsets: Mapping[str, int], operations: Iterable[Operation]) -> dict[str, int]:
    """``opsets`` without the domain, where none of ``operations`` is of it any more."""
    is_used = any(operation.domain == DOMAIN for operation in operations)
    return {domain: version for domain, version in opsets.items() if is_used or domain != DOMAIN}


_WriteOut = Callable[[Operation], list[Operation] | None]


class _Text:
    """Operations in a row that together are ``whole``; values between them have names of its output's."""

    def __init__(self, whole: Operation) -> None:
        self.whole = whole
        self.operations: list[Operation] = []
        self._inputs = (*whole.inputs, *[""] * 12)

    def input(self, i: int) -> str:
        """The name of an input, empty where it is absent."""
        return self._inputs[i]

    def add(
        self, op: str, inputs: Sequence[str], attributes: Mapping[str, Attribute] | None = None, to: str = ""
    ) -> str:
        """The name of what one more operation gives."""
        to = to or f"{self.whole.outputs[0]}/{len(self.operations)}"
        used = list(inputs)
        while used and not used[-1]:
            used.pop()
        self.operations.append(Operation(op, tuple(used), (to,), attributes or {}))
        return to

    def main(self, *what: Any, **where: Any) -> str:
        """:meth:`add` of the operator that ``whole`` has its name for."""
        result = self.add(*what, **where)
        self.operations[-1] = replace(self.operations[-1], name=self.whole.name)
        return result

    def dequantized(self, i: int, attributes: Mapping[str, Attribute] | None = None) -> str:
        """Input i, whose scale and zero point follow it, as floats."""
        return self.add("DequantizeLinear", [self.input(i), self.input(i + 1), self.input(i + 2)], attributes)

    def quantized(self, value: str, scale: str, zero: str) -> list[Operation]:
        """All of it, ending in the integers of ``value``."""
        self.add("QuantizeLinear", [value, scale, zero], to=self.whole.outputs[0])
        return self.operations


def _of_two(op: str) -> _WriteOut:
    """A, its scale and zero point, B's, and the result's scale and zero point."""

    def write_out(whole: Operation) -> list[Operation]:
        text = _Text(whole)
        result = text.main(op, [text.dequantized(0), text.dequantized(3)])
        return text.quantized(result, text.input(6), text.input(7))

    return write_out


def _of_one(op: str) -> _WriteOut:
    """X, its scale and zero point, the result's scale and zero point."""

    def write_out(whole: Operation) -> list[Operation] | None:
        attributes = dict(whole.attributes)
        if attributes.pop("channels_last", 0):
            return None
        attributes.pop("opset", None)  # of the softmax that it was; that of the file says the same
        text = _Text(whole)
        result = text.main(op, [text.dequantized(0)], attributes)
        return text.quantized(result, text.input(3), text.input(4))

    return write_out


def _concat(whole: Operation) -> list[Operation]:
    """The result's scale and zero point, then each part with its own."""
    text = _Text(whole)
    parts = [text.dequantized(i) for i in range(2, len(whole.inputs), 3)]
    return text.quantized(text.main("Concat", parts, whole.attributes), text.input(0), text.input(1))


def _where(whole: Operation) -> list[Operation]:
    """A condition, X and Y with their scales and zero points, and the result's."""
    text = _Text(whole)
    result = text.main("Where", [text.input(0), text.dequantized(1), text.dequantized(4)])
    return text.quantized(result, text.input(7), text.input(8))


def _gemm(whole: Operation) -> list[Operation] | None:
    """A and B with their scales and zero points, a bias of 32 bits in steps of both scales' product, and the result's,
    which is a float where they are absent. B may have a scale for each of its outputs.
    """
    if whole.attributes.get("alpha", 1.0) != 1.0:
        return None
    text, attributes = _Text(whole), dict(whole.attributes)
    attributes.pop("alpha", None)
    inputs = [text.dequantized(0), text.dequantized(3, {"axis": 0 if attributes.get("transB", 0) else 1})]
    if text.input(6):
        step = text.add("Mul", [text.input(1), text.input(4)])
        inputs.append(text.add("Mul", [text.add("Cast", [text.input(6)], {"to": _FLOAT}), step]))
    if text.input(7):
        return text.quantized(text.main("Gemm", inputs, attributes), text.input(7), text.input(8))
    text.main("Gemm", inputs, attributes, to=whole.outputs[0])
    return text.operations


_WRITTEN_OUT: dict[str, _WriteOut] = {
    "QLinearAdd": _of_two("Add"),
    "QLinearMul": _of_two("Mul"),
    "QLinearSigmoid": _of_one("Sigmoid"),
    "QLinearLeakyRelu": _of_one("LeakyRelu"),
    "QLinearAveragePool": _of_one("AveragePool"),
    "QLinearGlobalAveragePool": _of_one("GlobalAveragePool"),
    "QLinearSoftmax": _of_one("Softmax"),
    "QLinearConcat": _concat,
    "QLinearWhere": _where,
    "QGemm": _gemm,
}
