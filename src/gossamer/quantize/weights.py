"""FakeQuantize: the weight transform of quantization, from 8 to 2 bits; what trains is the weight underneath.

Jacob et al. 2018, section 3; learned scales after Esser et al. 2020 (LSQ).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gossamer.errors import RecipeError
from gossamer.graph import Layer, WeightTransform, note
from gossamer.numerics import affine
from gossamer.weights import Dense, Quantized, Weight, decode

from .ranges import Ranges
from .types import Granularity, Grid, PerChannel, PerGroup, PerTensor


@dataclass(frozen=True)
class Rows:
    """Which elements of a weight share a scale, as rows of a matrix: along ``axis``, in blocks of ``block``.

    None and None: one row; an axis: a row for each index; both: a row for each block of neighbours along the axis.
    """

    axis: int | None = None
    block: int | None = None

    @classmethod
    def of(cls, granularity: Granularity, layer: Layer) -> Rows:
        """Those of a layer's weight. Raises RecipeError for an axis that the weight does not have."""
        output = 0 if layer.kind == "embedding" else layer.output_axis
        match granularity:
            case PerTensor():
                return cls()
            case PerChannel(axis=None):
                return cls(output)
            case PerChannel(axis=int(axis)) if -len(layer.shape) <= axis < len(layer.shape):
                return cls(axis % len(layer.shape))
            case PerGroup(size=size):
                if len(layer.shape) != 2:
                    note(layer.weight, f"a scale for each output channel: {granularity} is for matrices")
                    return cls(output)
                inner = 1 if layer.kind == "embedding" else layer.input_axis
                return cls(output) if inner is None else cls(inner, min(size, layer.shape[inner]))
        raise RecipeError(f"{granularity}: {layer.weight} has shape {layer.shape}")

    def split(self, weight: Tensor) -> Tensor:
        """The weight as (rows, elements); the last block of an axis is filled up with zeros."""
        if self.axis is None:
            return weight.reshape(1, -1)
        if self.block is None:
            return weight.movedim(self.axis, 0).reshape(weight.shape[self.axis], -1)
        moved = weight.movedim(self.axis, -1)
        return F.pad(moved, (0, -moved.shape[-1] % self.block)).reshape(-1, self.block)

    def shaped(self, values: Tensor, shape: torch.Size) -> Tensor:
        """One value for each row, in the shape that Quantized has its scales in."""
        if self.axis is None:
            return values.reshape(())
        if self.block is None:
            return values
        others = [size for axis, size in enumerate(shape) if axis != self.axis]
        return values.reshape(*others, -1).movedim(-1, self.axis)

    def spread(self, values: Tensor, shape: torch.Size) -> Tensor:
        """One value for each row, so that it broadcasts to the weight."""
        if self.axis is None:
            return values.reshape(())
        if self.block is None:
            return values.reshape([-1 if axis == self.axis else 1 for axis in range(len(shape))])
        wide = self.shaped(values, shape).repeat_interleave(self.block, self.axis)
        return wide.narrow(self.axis, 0, shape[self.axis])


class FakeQuantize(WeightTransform):
    """scale (q - zero_point), q from ``low`` to ``high``; zero stays exactly zero.

    ``scale``: (rows,), as ``Rows(axis, block)`` splits the weight (-1 and 0 for None). ``how`` they are meant:
    "fixed": as they are; "learned": trained with the weights; "follows": as shares of the scales that cover each
    row's extremes, whatever these become. ``zero_point``: int32 (rows,), not read where the scale follows.
    """

    zero_point: Tensor
    scale: Tensor

    def __init__(
        self, scale: Tensor, zero_point: Tensor, low: int, high: int, axis: int, block: int, how: str
    ) -> None:
        super().__init__()
        if how == "learned":
            self.scale = nn.Parameter(scale.detach().clone())
        else:
            self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("zero_point", zero_point.to(torch.int32))
        self.grid = Grid(low, high, symmetric=low < 0)
        self.rows = Rows(None if axis < 0 else axis, block or None)
        self.how = how

    @classmethod
    @torch.no_grad()
    def fit(cls, weight: Tensor, grid: Grid, rows: Rows, ranges: Ranges, how: str) -> FakeQuantize:
        """For ``weight``, over the range that ``ranges`` finds for each row."""
        split = rows.split(weight)
        lower, upper = ranges.of_rows(split, grid)
        scale, zero = affine.parameters(lower, upper, grid.low, grid.high, grid.symmetric)
        if how == "follows":
            scale = (
                scale
                / affine.parameters(*torch.aminmax(split, dim=1), grid.low, grid.high, grid.symmetric)[0]
            )
        return cls.on(grid, rows, scale, zero, how)

    @classmethod
    def on(
        cls, grid: Grid, rows: Rows, scale: Tensor, zero_point: Tensor, how: str = "fixed"
    ) -> FakeQuantize:
        """From its parts."""
        axis = -1 if rows.axis is None else rows.axis
        return cls(scale, zero_point, grid.low, grid.high, axis, rows.block or 0, how)

    def parameters_for(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and zero points, (rows,), that ``weight`` gets."""
        if self.how == "fixed":
            return self.scale, self.zero_point
        if self.how == "learned":
            return self.scale.abs().clamp(min=torch.finfo(torch.float32).tiny), self.zero_point
        lower, upper = torch.aminmax(self.rows.split(weight.detach()), dim=1)
        return affine.parameters(
            lower * self.scale, upper * self.scale, self.grid.low, self.grid.high, self.grid.symmetric
        )

    def spread_for(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`parameters_for`, broadcasting to ``weight``."""
        scale, zero = self.parameters_for(weight)
        return self.rows.spread(scale, weight.shape), self.rows.spread(zero, weight.shape)

    def forward(self, weight: Tensor) -> Tensor:
        """The quantized weight."""
        scale, zero = self.spread_for(weight)
        if self.how == "learned":
            features = weight.numel() // max(1, self.scale.numel())
            return affine.learned(weight, scale, zero, self.grid.low, self.grid.high, features)
        quantized: Tensor = torch.ops.gossamer.fake_quantize.default(
            weight, scale, zero, self.grid.low, self.grid.high
        )
        return quantized

    @torch.no_grad()
    def represent(self, weight: Weight) -> Weight:
        """The integers."""
        values = torch.from_numpy(np.array(decode(weight)))
        moved = FakeQuantize(**{k: _on_cpu(v) for k, v in self.arguments().items()})  # type: ignore[arg-type]
        scale, zero = moved.parameters_for(values)
        wide, shift = (self.rows.spread(part, values.shape) for part in (scale, zero))
        ints = affine.steps(values, wide, shift, self.grid.low, self.grid.high).add_(shift)
        dtype = np.int8 if self.grid.symmetric else np.uint8
        return Quantized(
            ints.numpy().astype(dtype),
            self.rows.shaped(scale, values.shape).contiguous().numpy().astype(np.float32),
            self.rows.shaped(zero, values.shape).contiguous().numpy().astype(dtype),
            self.rows.axis,
            self.grid.bits,
            self.rows.block,
        )

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        return {
            "scale": self.scale.detach(),
            "zero_point": self.zero_point,
            "low": self.grid.low,
            "high": self.grid.high,
            "axis": -1 if self.rows.axis is None else self.rows.axis,
            "block": self.rows.block or 0,
            "how": self.how,
        }


class FoldedQuantize(FakeQuantize):
    """FakeQuantize of the weight times ``factor``, divided by it again: as the batch norm behind is folded in the end.

    ``factor``: (channels,), along ``channel_axis``; a node of the graph keeps it that of the moving statistics
    (:func:`gossamer.numerics.batchnorm.follow_fold`).
    """

    factor: Tensor

    def __init__(  # noqa: PLR0913 (what FakeQuantize has, and the fold)
        self,
        scale: Tensor,
        zero_point: Tensor,
        low: int,
        high: int,
        axis: int,
        block: int,
        how: str,
        factor: Tensor,
        channel_axis: int,
    ) -> None:
        super().__init__(scale, zero_point, low, high, axis, block, how)
        self.register_buffer("factor", factor.detach().clone())
        self.channel_axis = channel_axis

    @classmethod
    def around(cls, step: FakeQuantize, factor: Tensor, channel_axis: int) -> FoldedQuantize:
        """``step``, which fits the weight times ``factor``, for the weight itself."""
        return cls(**step.arguments(), factor=factor, channel_axis=channel_axis)  # type: ignore[arg-type]

    @property
    def folded(self) -> FakeQuantize:
        """For the weight times the factor, once the batch norm is gone."""
        return FakeQuantize(**super().arguments())  # type: ignore[arg-type]

    def forward(self, weight: Tensor) -> Tensor:
        """The weight of which the fold is quantized; the factor is a constant to the gradient."""
        sizes = [-1 if axis == self.channel_axis else 1 for axis in range(weight.ndim)]
        factor = self.factor.clone().view(sizes)  # the node changes it in place, perhaps before the gradient
        return super().forward(weight * factor) / factor

    @torch.no_grad()
    def represent(self, weight: Weight) -> Weight:
        """The values; a network ships with the batch norm folded, and then it has integers."""
        values = torch.from_numpy(np.array(decode(weight))).to(self.factor.device)
        return Dense(self(values).cpu().numpy())

    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """See :class:`WeightTransform`."""
        return {**super().arguments(), "factor": self.factor, "channel_axis": self.channel_axis}


def _on_cpu(value: Tensor | int | float | bool | str) -> Tensor | int | float | bool | str:
    return value.cpu() if isinstance(value, Tensor) else value
