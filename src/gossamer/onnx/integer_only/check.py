"""The proof that a Program computes with integers: what in it reads or makes floating-point numbers, by name."""

from __future__ import annotations

from gossamer.artifact.program import Operation, Program
from gossamer.errors import GraphError
from gossamer.weights import dtype

_FLOAT_TYPES = (
    1,
    10,
    11,
    16,
    *range(17, 21),
    23,
    24,
)  # of TensorProto: float, float16, double, bfloat16, float8 ...
_MAKES = (
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "EyeLike",
    "RandomNormal",
    "RandomUniform",
    "Multinomial",
)


def float_operations(program: Program) -> list[str]:
    """Every operation of ``program`` that reads or makes floats, as "operator of layer"; the border left out.

    The border: a QuantizeLinear of an input of the Program, and a DequantizeLinear that makes an output of it.
    """
    floats = {port.name for port in program.inputs if _is_float(port.dtype)}
    floats |= {name for name, weight in program.weights.items() if dtype(weight).kind == "f"}
    inputs, outputs = {p.name for p in program.inputs}, {p.name for p in program.outputs}
    found = []
    for operation in program.operations:
        reads = [
            name for name in operation.inputs if name in floats and operation.op not in ("Shape", "Size")
        ]
        makes = _makes_floats(operation, reads)
        if makes:
            floats.update(operation.outputs)
        enters = operation.op == "QuantizeLinear" and operation.inputs[0] in inputs
        leaves = operation.op == "DequantizeLinear" and set(operation.outputs) <= outputs
        if (reads or makes) and not (enters or leaves):
            found.append(f"{operation.op} of {operation.name or operation.outputs[0]}")
    return found


def check_integer(program: Program) -> None:
    """Raise GraphError, naming them, where operations of ``program`` compute with floats inside of its border."""
    found = float_operations(program)
    if found:
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        raise GraphError(f"the Program is not integer-only: {', '.join(found[:8])}{more} read or make floats")


def _makes_floats(operation: Operation, reads: list[str]) -> bool:
    if operation.op == "QuantizeLinear":
        return False
    if operation.op in ("Cast", "Constant", "ConstantOfShape", *_MAKES):
        value = operation.attributes.get("value")
        to = operation.attributes.get("to", operation.attributes.get("dtype"))
        named = any(key.startswith("value_float") for key in operation.attributes)
        kind = getattr(
            getattr(value, "dtype", None), "kind", "f" if operation.op == "ConstantOfShape" else ""
        )
        return operation.op in _MAKES or to in _FLOAT_TYPES or kind == "f" or named
    return bool(reads) and operation.op not in (
        "ArgMax",
        "ArgMin",
        "Less",
        "Greater",
        "Equal",
        "IsNaN",
        "IsInf",
    )


def _is_float(name: str) -> bool:
    return "float" in name
