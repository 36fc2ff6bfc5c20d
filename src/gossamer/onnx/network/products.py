"""Matrix products and convolutions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gossamer.artifact.program import Operation

from .padding import around, pads
from .values import Function, attribute, tensor

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _matmul(operation: Operation, a: Any, b: Any) -> Tensor:
    like = a if isinstance(a, Tensor) else b
    product: Tensor = tensor(a, like) @ tensor(b, like)
    return product


def _gemm(operation: Operation, a: Tensor, b: Tensor, c: Any = None) -> Tensor:
    alpha, beta = attribute(operation, "alpha", 1.0), attribute(operation, "beta", 1.0)
    c = None if c is None else tensor(c, a)
    a = a.T if attribute(operation, "transA", 0) else a
    if attribute(operation, "transB", 0) and alpha == 1 and (c is None or (beta == 1 and c.ndim == 1)):
        return F.linear(a, b, c)
    product = a @ (b.T if attribute(operation, "transB", 0) else b)
    product = product if alpha == 1 else product * alpha
    return product if c is None else product + (c if beta == 1 else c * beta)


def _conv(operation: Operation, x: Tensor, w: Tensor, bias: Any = None) -> Tensor:
    kernel = w.shape[2:]
    begin, end = pads(operation, x, kernel)
    if list(begin) != list(end):
        x, begin = F.pad(x, around(begin, end)), [0] * len(kernel)
    strides, dilations = (list(attribute(operation, n, (1,) * len(kernel))) for n in ("strides", "dilations"))
    function: Any = _CONVOLUTIONS[len(kernel)]
    bias = None if bias is None else tensor(bias, x)
    return function(x, w, bias, strides, begin, dilations, attribute(operation, "group", 1))  # type: ignore[no-any-return]


def _conv_transpose(operation: Operation, x: Tensor, w: Tensor, bias: Any = None) -> Tensor:
    rank = w.ndim - 2
    strides, dilations = (list(attribute(operation, n, (1,) * rank)) for n in ("strides", "dilations"))
    extra = list(attribute(operation, "output_padding", (0,) * rank))
    full = [
        strides[i] * (int(x.shape[2 + i]) - 1) + extra[i] + (int(w.shape[2 + i]) - 1) * dilations[i] + 1
        for i in range(rank)
    ]
    begin, end = _cropped(operation, x, full, strides)
    function: Any = _TRANSPOSED[rank]
    groups = attribute(operation, "group", 1)
    bias = None if bias is None else tensor(bias, x)
    even = begin if begin == end else [0] * rank
    y = function(x, w, bias, strides, even, extra, groups, dilations)
    if begin == end:
        return y  # type: ignore[no-any-return]
    return F.pad(y, around([-n for n in begin], [-n for n in end]))


def _cropped(
    operation: Operation, x: Tensor, full: list[int], strides: list[int]
) -> tuple[list[int], list[int]]:
    """What is cut off the ``full`` result in front and behind; the standard's equations of ConvTranspose."""
    rank, mode = len(full), attribute(operation, "auto_pad", "NOTSET")
    wanted = attribute(operation, "output_shape", None)
    if wanted is None and mode in ("NOTSET", "VALID"):
        given = list(attribute(operation, "pads", (0,) * (2 * rank))) if mode == "NOTSET" else [0] * 2 * rank
        return given[:rank], given[rank:]
    if wanted is None:
        wanted = [int(x.shape[2 + i]) * strides[i] for i in range(rank)]
    total = [size - want for size, want in zip(full, list(wanted)[-rank:], strict=True)]
    small, large = [n // 2 for n in total], [n - n // 2 for n in total]
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _einsum(operation: Operation, *inputs: Any) -> Tensor:
    like = next((x for x in inputs if isinstance(x, Tensor)), None)
    return torch.einsum(str(operation.attributes["equation"]), *[tensor(x, like) for x in inputs])


PRODUCTS: dict[str, Function] = {
    "MatMul": _matmul, "Gemm": _gemm, "Conv": _conv, "ConvTranspose": _conv_transpose, "Einsum": _einsum,
}  # fmt: skip
