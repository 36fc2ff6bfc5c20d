"""Resize, Upsample and GridSample.

Each spatial dimension is resized by itself. What F.interpolate does in the same way it does; nearest elements are taken
by their places otherwise, and means of neighbours are a product with a matrix of their shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from gossamer.artifact.program import Operation

from .values import Function, attribute, ints, unsupported

_Floats = npt.NDArray[np.float64]
_SMOOTH = {
    ("linear", 1): "linear",
    ("linear", 2): "bilinear",
    ("linear", 3): "trilinear",
    ("cubic", 2): "bicubic",
}
_ROUND: dict[str, Callable[[_Floats], _Floats]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda places: np.ceil(places - 0.5),
    "round_prefer_ceil": lambda places: np.floor(places + 0.5),
}


@dataclass(frozen=True)
class _Axis:
    """One dimension that changes: which, from and to how many elements, and the factor that the file says."""

    place: int
    before: int
    after: int
    scale: float


@dataclass(frozen=True)
class _How:
    """The attributes of a Resize, with the standard's defaults; before version 11 it knew one way."""

    mode: str
    coordinates: str
    rounding: str
    cubic: float
    outside: bool
    antialias: bool

    @classmethod
    def of(cls, operation: Operation, *, old: bool) -> _How:
        return cls(
            str(attribute(operation, "mode", "nearest")),
            "asymmetric"
            if old
            else str(attribute(operation, "coordinate_transformation_mode", "half_pixel")),
            "floor" if old else str(attribute(operation, "nearest_mode", "round_prefer_floor")),
            float(attribute(operation, "cubic_coeff_a", -0.75)),
            bool(attribute(operation, "exclude_outside", 0)),
            bool(attribute(operation, "antialias", 0)),
        )


def _resize(operation: Operation, x: Tensor, *given: Any) -> Tensor:
    """Resize (x, roi, scales, sizes); of version 10, and Upsample (x, scales), which may be an attribute."""
    old = len(given) < 2
    scales = attribute(operation, "scales", given[0] if given else None) if old else given[1]
    sizes = given[2] if len(given) > 2 else None
    how = _How.of(operation, old=old)
    if how.coordinates not in _PLACES:
        raise unsupported(operation, f"coordinate_transformation_mode {how.coordinates!r}")
    if attribute(operation, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise unsupported(operation, "keep_aspect_ratio_policy")
    axes = list(_changes(operation, x, scales, sizes))
    exact = all(abs(axis.before * axis.scale - axis.after) < 1e-4 for axis in axes)
    behind = all(axis.place >= 2 for axis in axes)
    mode = _torch_mode(how, axes, x.ndim - 2) if exact and behind else None
    if mode:
        wanted = [int(n) for n in x.shape[2:]]
        for axis in axes:
            wanted[axis.place - 2] = axis.after
        corners = None if mode == "nearest" else how.coordinates == "align_corners"
        return F.interpolate(x, wanted, mode=mode, align_corners=corners)
    for axis in axes:
        x = _nearest(x, axis, how) if how.mode == "nearest" else _mixed(x, axis, how)
    return x


def _changes(operation: Operation, x: Tensor, scales: Any, sizes: Any) -> Iterator[_Axis]:
    chosen = attribute(operation, "axes", None)
    places = list(range(x.ndim)) if chosen is None else [axis % x.ndim for axis in chosen]
    if sizes is not None and len(ints(sizes)):
        for place, size in zip(places, ints(sizes), strict=True):
            before = x.shape[place]
            if place == 0 or isinstance(size, torch.SymInt) or isinstance(before, torch.SymInt):
                continue  # the batch, whatever it is
            if int(size) != int(before):
                yield _Axis(place, int(before), int(size), int(size) / int(before))
        return
    factors = ints(scales)
    for place, factor in zip(places, factors, strict=True):
        if factor != 1:
            before = int(x.shape[place])
            yield _Axis(place, before, math.floor(before * factor), factor)


def _torch_mode(how: _How, axes: list[_Axis], rank: int) -> str | None:
    """F.interpolate's name for what is wanted, where it does the same."""
    if how.antialias or how.outside:
        return None
    whole = all(axis.after % axis.before == 0 for axis in axes)
    if how.mode == "nearest":
        floors = how.coordinates == "asymmetric" and how.rounding == "floor"
        rounds = how.coordinates == "half_pixel" and how.rounding.startswith("round") and whole
        return "nearest" if floors or rounds else None
    usual = how.coordinates in ("half_pixel", "align_corners") and (how.mode != "cubic" or how.cubic == -0.75)
    return _SMOOTH.get((how.mode, rank)) if usual else None


def _half_pixel(i: _Floats, axis: _Axis) -> _Floats:
    return (i + 0.5) / axis.scale - 0.5


def _symmetric(i: _Floats, axis: _Axis) -> _Floats:
    wide = axis.after / (axis.scale * axis.before)
    center = axis.before / 2
    return center * (1 - wide) + _half_pixel(i, axis)


# Places among the elements before of each one after: coordinate_transformation_mode.
_PLACES: dict[str, Callable[[_Floats, _Axis], _Floats]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda i, axis: _half_pixel(i, axis) if axis.after > 1 else np.zeros_like(i),
    "align_corners": lambda i, axis: i * (axis.before - 1) / max(axis.before * axis.scale - 1, 1),
    "asymmetric": lambda i, axis: i / axis.scale,
}


def _places(axis: _Axis, how: _How) -> _Floats:
    return _PLACES[how.coordinates](np.arange(axis.after, dtype=np.float64), axis)


def _nearest(x: Tensor, axis: _Axis, how: _How) -> Tensor:
    chosen = np.clip(_ROUND[how.rounding](_places(axis, how)), 0, axis.before - 1).astype(np.int64)
    return x.index_select(axis.place, torch.from_numpy(chosen).to(x.device))


def _mixed(x: Tensor, axis: _Axis, how: _How) -> Tensor:
    shares = torch.from_numpy(_shares(axis, how).astype(np.float32)).to(x)
    return (x.movedim(axis.place, -1) @ shares.T).movedim(-1, axis.place)


def _shares(axis: _Axis, how: _How) -> _Floats:
    """(after, before): what each element before contributes to each one after."""
    places = _places(axis, how)[:, None]
    wide = max(1.0, 1 / axis.scale) if how.antialias else 1.0
    reach = math.ceil((1 if how.mode == "linear" else 2) * wide) + 1
    near = np.floor(places) + np.arange(-reach, reach + 1)
    weight = _kernel((near - places) / wide, how)
    inside = (near >= 0) & (near < axis.before)
    if how.outside:
        weight = np.where(inside, weight, 0)
    weight /= weight.sum(1, keepdims=True)
    shares = np.zeros((axis.after, axis.before))
    rows = np.broadcast_to(np.arange(axis.after)[:, None], near.shape)
    np.add.at(shares, (rows, np.clip(near, 0, axis.before - 1).astype(np.int64)), weight)
    return shares


def _kernel(distance: _Floats, how: _How) -> _Floats:
    """Linear: a triangle. Cubic: Keys 1981 with the coefficient ``cubic_coeff_a``."""
    d, a = np.abs(distance), how.cubic
    inner = (a + 2) * d**3 - (a + 3) * d**2 + 1
    outer = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    cubic = np.where(d <= 1, inner, np.where(d < 2, outer, 0))
    share: _Floats = np.maximum(0, 1 - d) if how.mode == "linear" else cubic
    return share


def _grid_sample(operation: Operation, x: Tensor, grid: Tensor) -> Tensor:
    mode = str(attribute(operation, "mode", "linear"))
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    padding = str(attribute(operation, "padding_mode", "zeros"))
    return F.grid_sample(x, grid, mode, padding, bool(attribute(operation, "align_corners", 0)))


RESIZING: dict[str, Function] = {"Resize": _resize, "Upsample": _resize, "GridSample": _grid_sample}
