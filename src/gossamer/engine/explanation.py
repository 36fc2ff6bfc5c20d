"""What an Engine says about its plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One step of a plan: an operator and what is fused into it.

    ``operator``: ONNX names joined by "+" in the order in which they apply. ``inputs``, ``output``: shapes;
    constants are left out. ``layout``: "rows", as the shapes say, or "cells", in which bytes lie between quantized
    layers: (batch, channels / 4, sizes ..., 4); "rows to cells" where a step turns one into the other. ``kernel``:
    "family/instruction set", or what is done instead of running a kernel. ``note``: why a slower path was taken, or
    empty. ``weight_bytes``: constants as the kernel reads them. ``activation_bytes``: read and written. ``macs``:
    multiply-accumulates executed; a pruned weight that the kernel skips counts none. ``microseconds``: a median over
    runs, and ``share``: its part of all steps' (0 to 1); both None where nothing was run.
    """

    operator: str
    name: str
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    layout: str
    kernel: str
    note: str
    weight_bytes: int
    activation_bytes: int
    macs: int
    microseconds: float | None = None
    share: float | None = None
