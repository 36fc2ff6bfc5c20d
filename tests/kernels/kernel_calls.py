"""Calls a row of a kernel table on plain arrays and remembers that it ran."""

from __future__ import annotations

from functools import cache

import numpy as np

from gossamer import _native

EXERCISED: set[str] = set()
UNIT = 2.0**-24  # half the distance of 1 to the next float32: docs/numerics.md, section 1
CONV_METHODS = {"conv", "direct", "depthwise", "winograd2", "winograd4", "winograd6", "fft"}
FAMILIES = {
    "gemm", "bf16", "xnor", "codes", "col2im", "pool", "sparse", "unary", "binary", "affine", "softmax", "reduce",
    "layer_norm", "cell_floats", "cell_bytes", "transpose", "qgemm", "round",
    "requantize", "depthwise_cells", "cell_quantize", "cell_dequantize",
    "half_to_float", "float_to_half", "byte_quantize", "byte_dequantize", "byte_softmax", "byte_sums", "sum_rows",
    "byte_add", "byte_multiply", "byte_lookup", "cell_max_pool", "cell_average_pool", "cell_mean",
    "peak_floats", "peak_bytes",
}.union(CONV_METHODS)  # fmt: skip
# Those with a further row for AVX-512 VNNI.
BYTE_FAMILIES = {"cell_bytes", "qgemm", "depthwise_cells", "byte_lookup", "peak_bytes", "bf16", "xnor"}


@cache
def rows() -> tuple[str, ...]:
    """The rows that this machine can run, of all families."""
    here = set(_native.machine_isas())
    return tuple(name for name, isa in _native.kernel_rows() if isa in here)


def rows_of(family: str) -> list[str]:
    return [name for name in rows() if name.split("/")[0] == family]


def missing_rows() -> set[str]:
    return set(rows()) - EXERCISED


def call(row: str, out: np.ndarray, **arguments) -> np.ndarray:
    """Run one row (or "family/reference") into ``out``, which is pre-filled so that unwritten elements show."""
    family, isa = row.split("/")
    out.fill(77 if out.dtype in (np.uint8, np.uint16) else -12345.0)
    key = "c" if family in ("gemm", "bf16", "xnor") else "y"
    check = "conv" if family in CONV_METHODS else family
    getattr(_native, f"check_{check}")(row, **{key: out}, **arguments)
    if isa != "reference":
        EXERCISED.add(row)
    return out


def both(row: str, shape: tuple[int, ...], **arguments) -> tuple[np.ndarray, np.ndarray]:
    """What the row computes, and what the reference of its family does."""
    reference = row.split("/")[0] + "/reference"
    got, wanted = np.empty(shape, np.float32), np.empty(shape, np.float32)
    return call(row, got, **arguments), call(reference, wanted, **arguments)


def gamma(count: float) -> float:
    """n u / (1 - n u): docs/numerics.md, equation (1)."""
    return count * UNIT / (1 - count * UNIT)


def assert_within(got: np.ndarray, wanted: np.ndarray, bound: np.ndarray | float) -> None:
    """Equal where not finite; elsewhere within ``bound`` and one rounding of the reference itself."""
    special = ~np.isfinite(wanted)
    np.testing.assert_array_equal(got[special], wanted[special])
    exact = wanted[~special].astype(np.float64)
    error = np.abs(got[~special] - exact)
    allowed = np.broadcast_to(bound, got.shape)[~special] + UNIT * np.abs(exact)
    worst = np.argmax(error - allowed) if error.size else 0
    assert (error <= allowed + 1e-45).all(), f"error {error.flat[worst]} above {allowed.flat[worst]}"


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
