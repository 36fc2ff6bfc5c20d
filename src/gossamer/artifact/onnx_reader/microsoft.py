"""QuantizeLinear and DequantizeLinear of domain com.microsoft, by which ONNX Runtime's quantizer writes integers of 16
and of 4 bits in operator sets below 21, which do not have them.

They are the standard's operators of set 21, attribute for attribute. So a Program has the standard ones, and a file
that is written from it those of com.microsoft again, where its operator set needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gossamer.artifact.program import Operation

DOMAIN = "com.microsoft"
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def standard(operation: Operation) -> Operation:
    """``operation``, in the standard's domain where that has the same."""
    is_known = operation.domain == DOMAIN and operation.op in QUANTIZERS
    return replace(operation, domain="") if is_known else operation


def opsets_of(opsets: Mapping[str, int], operations: Iterable[Operation]) -> dict[str, int]:
    """``opsets`` without the domain, where none of ``operations`` is of it any more."""
    is_used = any(operation.domain == DOMAIN for operation in operations)
    return {domain: version for domain, version in opsets.items() if is_used or domain != DOMAIN}
