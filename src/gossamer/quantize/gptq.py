"""GPTQ: columns of a weight are rounded one after the other, and what each rounding loses, later columns make good.

Frantar et al. 2023, GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, algorithm 1.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Pass, note
from gossamer.graph.modes import arguments
from gossamer.numerics import affine
from gossamer.task import Task

from .calibrate import watch
from .corrected_fold import fold_corrected
from .run import QuantizedLayer, correctable, hold, source, unquantized

_MOST_COLUMNS = 8192  # of a Hessian that is held in memory


@dataclass(frozen=True)
class GPTQ(Pass):
    """After Quantize: choose the integers of linear layers and convolutions so that their outputs err least.

    The Hessian of each layer, E[x x^T] over ``batches`` calibration batches (None: all), is of the inputs as the
    quantized network has them. ``damping``: what is added to its diagonal, as a share of the mean. Scales stay.
    Grouped convolutions are left as they are, which is noted; masks hold.
    """

    batches: int | None = None
    damping: float = 0.01

    def __post_init__(self) -> None:
        if not self.damping > 0:
            raise RecipeError(f"GPTQ(damping={self.damping}): give a share above 0")

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` with other integers."""
        better = copy.deepcopy(graph)
        fold_corrected(better)
        found = [_Hessian(layer) for layer in correctable(better) if _fits(layer)]
        if not found:
            note("GPTQ", "nothing to do: no layer is quantized; put it behind Quantize")
            return better
        watch(better, task, self.batches, [(source(each.layer), each.add) for each in found])
        for each in found:
            self._round(better, each)
        return better

    @torch.no_grad()
    def _round(self, graph: Graph, hessian: _Hessian) -> None:
        layer = hessian.layer
        weight = unquantized(graph, layer)
        rows = hessian.rows(weight)
        scale, zero = (hessian.rows(part.expand_as(weight)) for part in layer.transform.spread_for(weight))
        inverse = _inverse(hessian.total.to(rows.dtype), self.damping)
        best = _rounded(rows.clone(), rows != 0, scale, zero, layer, inverse)
        hold(graph, layer, hessian.weight(best, weight))


def _fits(layer: QuantizedLayer) -> bool:
    columns = 1
    for size in layer.layer.shape[1:]:
        columns *= size
    grouped = layer.layer.groups > 1
    if grouped or columns > _MOST_COLUMNS:
        why = "a grouped convolution" if grouped else f"{columns} columns make too large a Hessian"
        note(layer.name, f"GPTQ leaves it rounded to the nearest: {why}")
    return not grouped and columns <= _MOST_COLUMNS


class _Hessian:
    """The sum of x x^T over the columns of a layer's matrix of weights, (columns, columns)."""

    def __init__(self, layer: QuantizedLayer) -> None:
        self.layer = layer
        self._total: Tensor | None = None

    @property
    def total(self) -> Tensor:
        assert self._total is not None  # calibration has at least one batch
        return self._total

    def add(self, x: Tensor) -> None:
        patches = self._patches(x)
        new = (patches.T @ patches).double()
        self._total = new if self._total is None else self._total + new

    def _patches(self, x: Tensor) -> Tensor:
        """What each output is a product of, (outputs, columns)."""
        layer = self.layer.layer
        if not layer.kind.startswith("conv"):
            return x.reshape(-1, x.shape[-1])
        given, kernel = arguments(layer.node), list(layer.shape[2:])
        if len(kernel) == 1:
            x = x.unsqueeze(2)
        size, stride, dilation = (_two(v, 1) for v in (kernel, given["stride"], given["dilation"]))
        padding = [0, 0] if isinstance(given["padding"], str) else _two(given["padding"], 0)
        if given["padding"] == "same":
            high, wide = (d * (k - 1) for d, k in zip(dilation, size, strict=True))
            x = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        unfolded = F.unfold(x, *(tuple(setting) for setting in (size, dilation, padding, stride)))
        return unfolded.transpose(1, 2).reshape(-1, unfolded.shape[1])

    def rows(self, weight: Tensor) -> Tensor:
        """The weight as (outputs, columns)."""
        moved = weight if self.layer.layer.output_axis == 0 else weight.T
        return moved.reshape(moved.shape[0], -1)

    def weight(self, rows: Tensor, like: Tensor) -> Tensor:
        """Back from (outputs, columns)."""
        return rows.reshape(like.shape) if self.layer.layer.output_axis == 0 else rows.T.reshape(like.shape)


def _two(sizes: Sequence[int], idle: int) -> list[int]:
    """A convolution's setting for two dimensions; ``idle`` is that of a dimension which is not there."""
    return [idle, *sizes] if len(sizes) == 1 else list(sizes)


def _inverse(hessian: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the damped Hessian's inverse."""
    mean = float(hessian.diagonal().mean())
    damped = hessian + torch.eye(len(hessian), dtype=hessian.dtype, device=hessian.device) * (
        damping * mean or 1.0
    )
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped.double()))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor.to(hessian.dtype)


def _rounded(
    rows: Tensor,
    kept: Tensor,
    scale: Tensor,
    zero: Tensor,
    layer: QuantizedLayer,
    inverse: Tensor,
    block: int = 128,
) -> Tensor:
    """``rows`` rounded column by column, in blocks whose loss reaches the rest at once. Overwrites ``rows``."""
    grid, result = layer.transform.grid, torch.empty_like(rows)
    for start in range(0, rows.shape[1], block):
        stop = min(start + block, rows.shape[1])
        losses = torch.empty_like(rows[:, start:stop])
        for column in range(start, stop):
            now = rows[:, column]
            rounded = (
                affine.steps(now, scale[:, column], zero[:, column], grid.low, grid.high) * scale[:, column]
            )
            result[:, column] = torch.where(kept[:, column], rounded, 0.0)
            loss = (now - result[:, column]) / inverse[column, column]
            rows[:, column:stop] -= loss[:, None] * inverse[column, column:stop]
            losses[:, column - start] = loss
        rows[:, stop:] -= losses @ inverse[start:stop, stop:]
    return result
