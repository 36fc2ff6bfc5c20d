"""What the engine makes of the ONNX standard's own node tests, and the page that says it: docs/operators.md.

    python scripts/operators_page.py          writes the page

``survey`` runs every node test whose operators the engine has through the ONNX backend interface. A case is right, or is
refused by UnsupportedError for one of the REASONS; anything else is an error of the engine.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, TensorProto, defs, numpy_helper
from onnx.backend.test.case.node import collect_testcases

import gossamer.onnx.backend as backend
from gossamer.engine import operators
from gossamer.errors import UnsupportedError

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"
LAST = 21  # operator versions up to this one are promised; later ones are tried as well

# Why a case may be refused: a name for it, and how the message of the error looks.
REASONS = {
    "element type": r"element type|ONNX type number",
    "no tensor": r"is not a tensor|attribute 'to'|is a value_string|attributes of kind",
    "training": r"training_mode|the output 'mask'|outputs of training",
    "Scan before opset 9": r"Scan of operator versions before 9",
    "operator version after 21": r"is not supported|supported here",
}


@dataclass
class Row:
    """What became of the cases that use one operator."""

    right: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    types: set[str] = field(default_factory=set)


def cases() -> list:
    """The node tests of the installed onnx package."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return collect_testcases(None)


def used(graph: GraphProto) -> Iterator[str]:
    """The operators of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node.op_type
        for item in node.attribute:
            if item.type == onnx.AttributeProto.GRAPH:
                yield from used(item.g)


def array(value: object) -> np.ndarray:
    """Data of the types that NumPy lacks comes as a TensorProto."""
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


# Softmax of float16 among many operators: the reference rounds its exponentials and their sum.
ROUNDED_WITHIN = {"test_attention_4d_causal_fp16_expanded"}


def relative_error(case, expected: np.ndarray) -> float:
    """A case's own; where its figures were rounded to float16 inside of functions that round once here, two units."""
    is_rounded_within = case.name in ROUNDED_WITHIN and expected.dtype == np.float16
    return max(case.rtol, 2 * np.finfo(np.float16).eps) if is_rounded_within else case.rtol


def run(case, **options) -> None:
    """Raises UnsupportedError where the engine refuses the case, AssertionError where it is wrong."""
    prepared = backend.prepare(case.model, **options)
    for given, wanted in case.data_sets:
        outputs = prepared.run([array(value) for value in given])
        assert len(outputs) == len(wanted), case.name
        for got, expected in zip(outputs, map(array, wanted), strict=True):
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape), case.name
            np.testing.assert_allclose(
                got, expected, relative_error(case, expected), max(case.atol, 1e-6), err_msg=case.name
            )


def reason_of(case, message: str) -> str:
    """Which of the REASONS an error's message is. KeyError where it is none."""
    for reason, pattern in REASONS.items():
        if re.search(pattern, message) and (reason != "operator version after 21" or is_later(case)):
            return reason
    raise KeyError(f"{case.name}: {message}")


def is_later(case) -> bool:
    """Whether an operator of the case has changed after opset LAST."""
    version = next(entry.version for entry in case.model.opset_import if not entry.domain)
    return any(defs.get_schema(op, version).since_version > LAST for op in used(case.model.graph))


def survey(collected, **options) -> tuple[dict[str, Row], dict[str, str]]:
    """A row for every operator, and the refused cases by name with their reasons."""
    rows: dict[str, Row] = defaultdict(Row)
    refused: dict[str, str] = {}
    known = set(operators())
    for case in collected:
        ops = set(used(case.model.graph))
        if not ops <= known or any(entry.domain for entry in case.model.opset_import):
            continue
        try:
            run(case, **options)
        except UnsupportedError as error:
            refused[case.name] = reason_of(case, str(error))
            for op in ops:
                rows[op].refused[refused[case.name]] += 1
            continue
        types = {np.asarray(array(value)).dtype.name for value in case.data_sets[0][0]}
        for op in ops:
            rows[op].right += 1
            rows[op].types |= types if len(ops) == 1 else set()
    return rows, refused


def versions(op: str) -> str:
    """The versions of an operator that lie in opsets 11 to LAST: "6, 13, 14"."""
    found = {
        schema.since_version
        for schema in defs.get_all_schemas_with_history()
        if schema.name == op and not schema.domain
    }
    before = [version for version in found if version <= 11]
    return (
        ", ".join(map(str, sorted({*(before and [max(before)]), *(v for v in found if 11 < v <= LAST)})))
        or "after 21"
    )


OWN = """
## Operators of domain `gossamer`, version 1

Integer-only networks are written with `ConvInteger`, `MatMulInteger` and ONNX's integer `Add`, `Sub`, `Mul`,
`MaxPool`, `ReduceSum`, `Gather` and operators that move elements, and with four operators that the standard lacks.
None of them holds a floating-point number. `Quantize(integer_only=True)` makes such networks
([quantization.md](quantization.md)), and `gossamer.onnx.integer_only.run` runs them in NumPy.
`gossamer.numerics.integers` is the operators' reference, and computes their constants; the engine gives the same bits
on every machine ([numerics.md](numerics.md), sections 7 and 9). `x` is int32, int8 or uint8 everywhere.

**Requantize** `(x, multiplier, shift, zero_point?, x_zero_point?) -> y`: `y = clamp(low, (x - x_zero_point)
multiplier 2^(-31 - shift) + zero_point, high)`, rounded as gemmlowp does, equations (9) and (10).

| input, attribute | |
| --- | --- |
| `multiplier`, `shift` | constants, int32: one number each, or one for each index of `axis`; -31 <= shift <= 31 |
| `zero_point` | one number of the output's type: uint8, int8, int16 or int32. Absent: int32, 0 |
| `x_zero_point` | one number of x's type. Absent: 0 |
| `axis` | 1 by default: the channels of a convolution, the columns of a matrix |
| `low`, `high` | ints; the bounds of the output's type where absent. A ReLU is `low` = zero_point |

A layer is `ConvInteger(x, w, x_zero_point)`, `Add(int32 bias)`, `Requantize`, which run as one step ([kernels.md](kernels.md)) where
weights and zero points are constants and weights less their zero points fit int8: the factor is `scale_x scale_w /
scale_y`, by `integers.fixed_point`. The sum of two quantized tensors is a Requantize of each to int32 with a common
finer scale (its shift below zero), Add, Requantize. A mean over n pixels is ReduceSum of int32 and a Requantize whose
factor has 1 / n.

**IntegerSoftmax** `(x) -> uint8`, scale `2^-bits`, zero point 0: softmax along `axis` (-1) with I-BERT's exponential,
equations (13) and (14). Attributes `ln2`, `b`, `c` from `integers.Exponential.of(scale of x)`; `bits` 1 to 8 (8).

**IntegerGelu** `(x, x_zero_point?) -> int32`, scale `output_scale` of `integers.Gelu.of(scale of x)`, which gives its
attributes `b` and `c`, equation (15). A Requantize follows.

**IntegerLayerNorm** `(x, weight, bias?) -> int32`, scale `integers.layer_norm_scale(n, fraction_bits, scale of
weight)`, the bias's too: along the last dimension (at most 16,384), `weight` and `bias` int32 of its size,
`fraction_bits` 1 to 20, equation (16). Elements of x saturate at 2^23. x needs no zero point: the mean takes it away.
"""


def page(rows: dict[str, Row], refused: dict[str, str]) -> str:
    """docs/operators.md."""
    lines = [
        "# ONNX operators",
        "",
        f"The engine runs {len(operators())} operators of the standard domain. This page is written by",
        "`scripts/operators_page.py` from the standard's own node tests; a test holds it up to date.",
        "",
        "*Versions*: those of the operator in opsets 11 to 21. *Right*: node tests that give the standard's outputs. *Types*:",
        "of the inputs in them (an operator may take more). *Refused*: node tests refused while loading, and why:",
        "element types that the engine lacks (strings, bfloat16, 8-bit floats, 2- and 4-bit integers, complex numbers);",
        "sequences and optionals; training; versions after opset 21.",
        "",
        "| operator | versions | right | refused | types |",
        "| --- | --- | --- | --- | --- |",
    ]
    for op in operators():
        row = rows.get(op, Row())
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(row.refused.items()))
        lines.append(f"| {op} | {versions(op)} | {row.right} | {why} | {', '.join(sorted(row.types))} |")
    lines += [*OWN.rstrip().split("\n"), "", "## Node tests that are refused", ""]
    for reason in REASONS:
        names = [name.removeprefix("test_") for name, why in sorted(refused.items()) if why == reason]
        if names:
            lines += [f"*{reason}*: " + ", ".join(names), ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(*survey(cases())))
    print(PAGE)
