"""Shapes: sizes, and the same elements in another order, joined, cut or repeated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gossamer.artifact.program import Operation

from .padding import around
from .values import MOST_SETTINGS, Function, attribute, ints, is_known, number, tensor


def _shape(operation: Operation, x: Any) -> list[Any]:
    return list(tensor(x).shape)[attribute(operation, "start", None) : attribute(operation, "end", None)]


def _size(operation: Operation, x: Any) -> Any:
    return math.prod(tensor(x).shape)


def _reshape(operation: Operation, x: Any, shape: Any) -> Any:
    wanted = ints(shape)
    if not isinstance(x, Tensor):
        return x if len(wanted) == 1 and isinstance(x, list) else np.asarray(x).reshape(wanted)
    if not attribute(operation, "allowzero", 0):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(operation: Operation, x: Tensor) -> Tensor:
    axis = int(attribute(operation, "axis", 1))
    axis = axis + x.ndim if axis < 0 else axis
    if axis == 1 and x.ndim > 1:
        return x.flatten(1)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _transpose(operation: Operation, x: Any) -> Tensor:
    x = tensor(x)
    return x.permute(attribute(operation, "perm", tuple(reversed(range(x.ndim)))))  # type: ignore[no-any-return]


def _squeeze(operation: Operation, x: Any, axes: Any = None) -> Any:
    axes = attribute(operation, "axes", axes)
    if isinstance(x, list):
        return x[0] if len(x) == 1 else x
    if isinstance(x, np.ndarray):
        return x.squeeze(None if axes is None else tuple(ints(axes)))
    return x.squeeze() if axes is None else x.squeeze(ints(axes))


def _unsqueeze(operation: Operation, x: Any, axes: Any = None) -> Any:
    places = ints(attribute(operation, "axes", axes))
    if isinstance(x, int | torch.SymInt):
        return [x]
    if isinstance(x, np.ndarray):
        return np.expand_dims(x, tuple(places))
    rank = x.ndim + len(places)
    for place in sorted(p % rank for p in places):
        x = x.unsqueeze(place)
    return x


def _concat(operation: Operation, *parts: Any) -> Any:
    if any(isinstance(part, list) for part in parts):
        return [size for part in parts for size in ints(part)]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts, attribute(operation, "axis", 0))
    like = next(part for part in parts if isinstance(part, Tensor))
    tensors = [tensor(part, like) for part in parts]
    axis = int(attribute(operation, "axis", 0)) % like.ndim
    return torch.cat(_of_one_batch(tensors) if axis else tensors, axis)


def _of_one_batch(parts: list[Tensor]) -> list[Tensor]:
    """A weight that was one row of a file's only example (a class token), for as many as there are."""
    batch = next((part.shape[0] for part in parts if isinstance(part.shape[0], torch.SymInt)), None)
    if batch is None:
        batch = max(part.shape[0] for part in parts)
    return [part.expand(batch, *part.shape[1:]) if part.shape[0] == 1 else part for part in parts]


def _split(operation: Operation, x: Tensor, sizes: Any = None) -> tuple[Tensor, ...]:
    axis = int(attribute(operation, "axis", 0))
    sizes = attribute(operation, "split", sizes)
    if sizes is not None:
        return tuple(torch.split(x, ints(sizes), axis))
    return tuple(torch.split(x, -(-x.shape[axis] // len(operation.outputs)), axis))


def _slice(
    operation: Operation, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> Any:
    starts, ends = ints(attribute(operation, "starts", starts)), ints(attribute(operation, "ends", ends))
    axes = attribute(operation, "axes", axes)
    places = list(range(len(starts))) if axes is None else ints(axes)
    strides = [1] * len(starts) if steps is None else ints(steps)
    if isinstance(x, list):
        return x[starts[0] : ends[0] : strides[0]]
    for start, end, place, stride in zip(starts, ends, places, strides, strict=True):
        if stride < 0 and isinstance(x, Tensor):
            chosen = range(int(x.shape[place]))[_from_behind(start) : _from_behind(end) : stride]
            x = x.index_select(place, torch.tensor(chosen, dtype=torch.long, device=x.device))
            continue
        index = [slice(None)] * x.ndim
        far = isinstance(end, int) and abs(end) >= 2**31 - 1 and (end > 0) == (stride > 0)
        index[place] = slice(start, None if far else end, stride)
        x = x[tuple(index)]
    return x


def _from_behind(bound: Any) -> int | None:
    """A bound of a slice that goes backwards: beyond the first element is none."""
    return None if bound <= -(2**31) + 1 else int(bound)


def _expand(operation: Operation, x: Any, shape: Any) -> Tensor:
    wanted, values = ints(shape), tensor(x)
    have = [1] * (len(wanted) - values.ndim) + list(values.shape)
    wanted = [1] * (len(have) - len(wanted)) + wanted
    return values.expand(
        [h if isinstance(w, int) and w == 1 else w for h, w in zip(have, wanted, strict=True)]
    )


def _constant_of_shape(operation: Operation, shape: Any) -> Any:
    value = np.asarray(attribute(operation, "value", np.zeros(1, np.float32))).reshape(-1)
    if value.dtype == np.int64 and is_known(shape) and math.prod(ints(shape)) <= MOST_SETTINGS:
        return np.full(ints(shape), value[0])
    filled: Tensor = torch.full(ints(shape), value[0].item(), dtype=torch.from_numpy(value[:1].copy()).dtype)
    return filled


def _range(operation: Operation, start: Any, limit: Any, step: Any) -> Tensor:
    def bound(value: Any) -> Any:
        value = value[0] if isinstance(value, list) else value
        return value if isinstance(value, int | torch.SymInt) else np.asarray(value).item()

    return torch.arange(bound(start), bound(limit), bound(step))


def _pad(operation: Operation, x: Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> Tensor:
    given = ints(attribute(operation, "pads", pads))
    rank = len(given) // 2
    places = list(range(x.ndim)) if axes is None else [a % x.ndim for a in ints(axes)]
    begin, end = [0] * x.ndim, [0] * x.ndim
    for i, place in enumerate(places[:rank]):
        begin[place], end[place] = given[i], given[rank + i]
    first = next((i for i in range(x.ndim) if begin[i] or end[i]), x.ndim)
    if first == x.ndim:
        return x
    mode = {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}.get(
        attribute(operation, "mode", "constant")
    )
    if mode:
        return _extended(x, begin, end, first, mode)
    constant = attribute(operation, "value", 0.0) if value is None else number(value)
    return F.pad(x, around(begin[first:], end[first:]), value=constant)


def _extended(x: Tensor, begin: list[int], end: list[int], first: int, mode: str) -> Tensor:
    """By its own elements: torch knows it behind two dimensions in front, and of three at most."""
    lead = max(0, x.ndim - 3) if first >= x.ndim - 3 else 0
    front, padded = list(x.shape[:lead]), x.reshape(1, -1, *x.shape[lead:])
    y = F.pad(padded, around(begin[lead:], end[lead:]), mode=mode)
    return y.reshape(*front, *y.shape[2:]) if front else y[0, 0]


def _depth_to_space(operation: Operation, x: Tensor) -> Tensor:
    block = int(operation.attributes["blocksize"])  # type: ignore[arg-type]
    if attribute(operation, "mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    apart = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return apart.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(operation: Operation, x: Tensor) -> Tensor:
    block = int(operation.attributes["blocksize"])  # type: ignore[arg-type]
    n, c, h, w = x.shape
    apart = x.reshape(n, c, h // block, block, w // block, block)
    channels_first = attribute(operation, "mode", "DCR") == "CRD"
    apart = apart.permute(0, 1, 3, 5, 2, 4) if channels_first else apart.permute(0, 3, 5, 1, 2, 4)
    return apart.reshape(n, c * block**2, h // block, w // block)


def _tile(operation: Operation, x: Any, repeats: Any) -> Tensor:
    return tensor(x).repeat(ints(repeats))


def _triangle(operation: Operation, x: Any, k: Any = None) -> Tensor:
    diagonal = 0 if k is None else ints(k)[0]
    function = torch.triu if attribute(operation, "upper", 1) else torch.tril
    return function(tensor(x), diagonal)


def _identity_like(operation: Operation, x: Any) -> Tensor:
    """EyeLike."""
    rows, columns = tensor(x).shape
    ahead = torch.arange(columns) - torch.arange(rows).unsqueeze(1)
    found: Tensor = (ahead == attribute(operation, "k", 0)).to(tensor(x).dtype)
    return found


SHAPES: dict[str, Function] = {
    "Shape": _shape, "Size": _size, "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose,
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Concat": _concat, "Split": _split, "Slice": _slice,
    "Expand": _expand, "ConstantOfShape": _constant_of_shape, "Range": _range, "Pad": _pad, "Tile": _tile,
    "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth, "Trilu": _triangle, "EyeLike": _identity_like,
}  # fmt: skip
