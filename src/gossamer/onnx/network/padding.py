"""Padding in front of and behind each spatial dimension, as convolutions and pools say it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gossamer.artifact.program import Operation

from .values import attribute


def pads(operation: Operation, x: Tensor, kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """In front of and behind each spatial dimension; ``auto_pad`` follows the sizes of ``x``."""
    rank, mode = len(kernel), attribute(operation, "auto_pad", "NOTSET")
    strides = attribute(operation, "strides", (1,) * rank)
    dilations = attribute(operation, "dilations", (1,) * rank)
    if mode == "NOTSET":
        given = list(attribute(operation, "pads", (0,) * (2 * rank)))
        return given[:rank], given[rank:]
    begin, end = [0] * rank, [0] * rank
    if mode != "VALID":
        for i in range(rank):
            size = int(x.shape[2 + i])
            steps = -(-size // strides[i]) - 1
            total = max(0, steps * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - size)
            small, large = total // 2, total - total // 2
            begin[i], end[i] = (small, large) if mode == "SAME_UPPER" else (large, small)
    return begin, end


def around(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """As F.pad has it: the last dimension first."""
    return [n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair]
