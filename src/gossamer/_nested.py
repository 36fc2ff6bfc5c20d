"""Nested tensors: what loaders give and networks return; a tensor, or tuples, lists and dicts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gossamer.errors import TaskError


def leaves(value: Any) -> Iterator[Any]:
    """Everything in ``value`` that is not a tuple, list or mapping, in order; None is skipped."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for part in value:
            yield from leaves(part)
    elif value is not None:
        yield value


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """``value`` with ``function`` applied to every leaf. Sequences become tuples, mappings become dicts."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_leaves(function, part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map_leaves(function, part) for part in value)
    return None if value is None else function(value)


def to_device(value: Any, device: torch.device) -> Any:
    """``value`` with every tensor on ``device``; other leaves as they are."""
    if isinstance(value, Tensor):  # the common case, once per step: no recursion
        return value if value.device == device else value.to(device, non_blocking=True)
    return map_leaves(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, value)


def to_arrays(value: Any) -> Any:
    """``value`` with every tensor as a NumPy array on the CPU (which shares its memory where it can)."""
    return map_leaves(lambda leaf: leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else leaf, value)


def to_cpu_tensors(value: Any) -> Any:
    """``value`` with every tensor and NumPy array as a tensor on the CPU, outside every gradient."""

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.detach().cpu()
        # A copy: what a runtime returns may be read-only, or overwritten by its next run.
        return torch.tensor(leaf) if isinstance(leaf, np.ndarray | np.generic) else leaf

    return map_leaves(convert, value)


def batch_size(value: Any) -> int:
    """The length of the first dimension of the first tensor in ``value``; 1 where there is none."""
    if isinstance(value, Tensor) and value.dim() > 0:
        return value.shape[0]
    return next((len(leaf) for leaf in leaves(value) if isinstance(leaf, Tensor) and leaf.dim() > 0), 1)


def slice_batch(value: Any, start: int, stop: int) -> Any:
    """Examples ``start`` to ``stop`` of every tensor in ``value``; scalars are everybody's."""
    return map_leaves(
        lambda leaf: leaf[start:stop] if isinstance(leaf, Tensor) and leaf.dim() else leaf, value
    )


def concatenate(parts: list[Any], what: str) -> Any:
    """Batches joined along their first dimension.

    Raises TaskError, about ``what``, where that has no meaning.
    """
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, Tensor) and first.dim() > 0:
        return _join_tensors(parts, what)
    if isinstance(first, Mapping):
        return {key: concatenate([part[key] for part in parts], f"{what}[{key!r}]") for key in first}
    if isinstance(first, tuple | list):
        return tuple(
            concatenate(list(each), f"{what}[{i}]") for i, each in enumerate(zip(*parts, strict=True))
        )
    raise TaskError(
        f"{what} cannot be concatenated over the validation batches: {describe(first)}; return tensors (or "
        "tuples and dicts of tensors) whose first dimension is the batch"
    )


def _join_tensors(parts: list[Tensor], what: str) -> Tensor:
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        one, other, *_ = sorted(shapes)
        raise TaskError(
            f"{what} have different shapes in different batches: {list(one)} and {list(other)} after the "
            "batch dimension; pad them to one shape in the loader (collate_fn)"
        )
    return torch.cat(parts)


def describe(value: Any) -> str:
    """What ``value`` is, in a few words, for an error message: ``Tensor float32 [128, 10]``."""
    if isinstance(value, Tensor):
        return f"Tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"ndarray {value.dtype} {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{type(value).__name__} with keys {list(value)[:8]}"
    if isinstance(value, tuple | list):
        inside = ", ".join(describe(part) for part in value[:4]) + (", ..." if len(value) > 4 else "")
        return f"{type(value).__name__} of {len(value)} ({inside})"
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"
