"""Elements taken and put by their places."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gossamer.artifact.program import Operation

from .values import Function, attribute, ints, tensor, unsupported


def _places(indices: Any, size: Any, like: Tensor) -> Tensor:
    """Indices of which negative ones count from behind."""
    index = tensor(indices, like).long()
    if isinstance(indices, np.ndarray) and (indices >= 0).all():
        return index
    return torch.where(index < 0, index + size, index)


def _gather(operation: Operation, x: Any, indices: Any) -> Any:
    axis = int(attribute(operation, "axis", 0))
    if isinstance(x, list):
        picked = [x[i] for i in ints(indices)]
        return picked[0] if np.ndim(indices) == 0 else picked
    if isinstance(x, np.ndarray) and isinstance(indices, np.ndarray):
        return np.take(x, indices, axis)
    x = tensor(x, indices if isinstance(indices, Tensor) else None)
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        return x.select(axis, int(indices))
    if axis == 0 and isinstance(x, torch.nn.Parameter) and x.ndim == 2 and isinstance(indices, Tensor):
        return F.embedding(indices.long(), x)  # of tokens, which are not negative
    index = _places(indices, x.shape[axis], x)
    axis %= x.ndim
    flat = x.index_select(axis, index.reshape(-1))
    return flat.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _gather_elements(operation: Operation, x: Any, indices: Any) -> Tensor:
    axis, x = int(attribute(operation, "axis", 0)), tensor(x)
    return torch.gather(x, axis, _places(indices, x.shape[axis], x))


def _tuples(operation: Operation, x: Tensor, indices: Any) -> tuple[Tensor, ...]:
    """An index for each of the first dimensions, from the last dimension of ``indices``."""
    index = tensor(indices, x).long()
    depth = int(index.shape[-1])
    places = index.unbind(-1)
    if isinstance(indices, np.ndarray) and (indices >= 0).all():
        return places
    return tuple(torch.where(p < 0, p + x.shape[i], p) for i, p in zip(range(depth), places, strict=True))


def _gather_nd(operation: Operation, given: Any, indices: Any) -> Tensor:
    x, batch = tensor(given), int(attribute(operation, "batch_dims", 0))
    if not batch:
        return x[_tuples(operation, x, indices)]
    index = tensor(indices, x).long()
    front = list(x.shape[:batch])
    rows = x.reshape(-1, *x.shape[batch:])
    picked = index.reshape(rows.shape[0], -1, index.shape[-1])
    number = torch.arange(rows.shape[0], device=x.device).unsqueeze(1).expand(picked.shape[:2])
    found = rows[(number, *picked.unbind(-1))]
    return found.reshape(*front, *index.shape[batch:-1], *found.shape[2:])


_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scatter_elements(operation: Operation, x: Any, indices: Any, updates: Any) -> Tensor:
    axis, how, x = int(attribute(operation, "axis", 0)), attribute(operation, "reduction", "none"), tensor(x)
    places, updates = _places(indices, x.shape[axis], x), tensor(updates, x)
    if how == "none":
        return torch.scatter(x, axis, places, updates)
    return torch.scatter_reduce(x, axis, places, updates, _REDUCE[str(how)])


def _scatter_nd(operation: Operation, x: Any, indices: Any, updates: Any) -> Tensor:
    how, x = attribute(operation, "reduction", "none"), tensor(x)
    if how not in ("none", "add"):
        raise unsupported(operation, f"reduction {how!r}")
    return torch.index_put(x, _tuples(operation, x, indices), tensor(updates, x), accumulate=how == "add")


def _one_hot(operation: Operation, indices: Any, depth: Any, values: Any) -> Tensor:
    count, index = ints(depth)[0], tensor(indices)
    axis = int(attribute(operation, "axis", -1))
    off, on = tensor(values, index).unbind(0)
    places = torch.arange(int(count), device=index.device)
    index = torch.where(index < 0, index + int(count), index)
    axis = axis % (index.ndim + 1)
    hits = index.unsqueeze(axis) == places.view([-1] + [1] * (index.ndim - axis))
    return torch.where(hits, on, off)


def _top_k(operation: Operation, x: Tensor, k: Any = None) -> tuple[Tensor, Tensor]:
    count, axis = ints(attribute(operation, "k", k))[0], int(attribute(operation, "axis", -1))
    largest, ordered = (bool(attribute(operation, name, 1)) for name in ("largest", "sorted"))
    values, places = torch.topk(x, int(count), axis, largest, ordered)
    return values, places


INDEXING: dict[str, Function] = {
    "Gather": _gather, "GatherElements": _gather_elements, "GatherND": _gather_nd,
    "Scatter": _scatter_elements, "ScatterElements": _scatter_elements, "ScatterND": _scatter_nd,
    "OneHot": _one_hot, "TopK": _top_k,
}  # fmt: skip
