"""What an Engine says about its plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Step(NamedTuple):
    """One step of a plan: an operator and what is fused into it.

    ``operator``: ONNX names joined by "+" in the order in which they apply. ``inputs``, ``output``: shapes;
    constants are left out; tensors lie row by row as their shape says, bytes between quantized layers as cells:
    (batch, channels / 4, sizes ..., 4). ``kernel``: "family/instruction set", or what is done instead of running a
    kernel. ``note``: why a slower path was taken, or empty. ``weight_bytes``: constants as the kernel reads them.
    ``activation_bytes``: read and written. ``macs``: multiply-accumulates executed; a pruned weight that the
    kernel skips counts none.
    """

    operator: str
    name: str
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    kernel: str
    note: str
    weight_bytes: int
    activation_bytes: int
    macs: int


@dataclass(frozen=True)
class StepTime:
    """What one step of a plan took: ``microseconds``, a median over runs. The rest is as in :class:`Step`."""

    name: str
    operator: str
    kernel: str
    microseconds: float
    macs: int
    note: str
    inputs: tuple[tuple[int, ...], ...] = ()
    output: tuple[int, ...] = ()
    weight_bytes: int = 0
    activation_bytes: int = 0
