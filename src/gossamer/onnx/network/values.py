"""What operators are given: tensors, NumPy arrays (small constants), and for shapes that depend on the batch lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gossamer.artifact.program import Operation
from gossamer.errors import UnsupportedError

MOST_SETTINGS = 64  # elements of a constant that may be a shape, axes, bounds or scales
# (operation, inputs) -> output or tuple of outputs, as in the standard.
Function = Callable[..., Any]


class ComputedError(Exception):
    """What must be a constant of the file is computed while the network runs; says what. The caller names where."""


def tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """A value as a tensor."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list):
        return torch.stack([torch.as_tensor(part) for part in value])
    return torch.as_tensor(value, device=None if like is None else like.device)


def ints(value: Any) -> list[Any]:
    """A value as sizes: numbers, and symbols where they depend on the batch."""
    if isinstance(value, Tensor):
        raise ComputedError("sizes, axes, counts or scales")
    if isinstance(value, torch.SymInt):
        return [value]
    return value if isinstance(value, list) else np.asarray(value).reshape(-1).tolist()


def is_known(value: Any) -> bool:
    """Whether it is numbers alone, of which none depends on the batch."""
    if isinstance(value, list):
        return not any(isinstance(part, torch.SymInt) for part in value)
    return not isinstance(value, Tensor | torch.SymInt)


def of_sizes(function: Callable[..., Any], *values: Any) -> Any:
    """``function`` of numbers for each place of sizes that are no tensors, with broadcasting: shape arithmetic."""
    if all(map(is_known, values)):
        return np.vectorize(function)(*map(np.asarray, values))
    scalar = not any(isinstance(value, list) or np.ndim(value) for value in values)
    parts = [ints(value) for value in values]
    size = max(map(len, parts))
    found = [function(*each) for each in zip(*(part * (size // len(part)) for part in parts), strict=True)]
    return found[0] if scalar else found


def number(value: Any) -> Any:
    """The one number of a constant: read from the file, not while the network runs."""
    if isinstance(value, Tensor):
        raise ComputedError("bounds")
    return float(np.asarray(value).item())


def attribute(operation: Operation, name: str, default: Any) -> Any:
    """The operation's, or what the standard says for its absence."""
    return operation.attributes.get(name, default)


def unsupported(operation: Operation, why: str) -> UnsupportedError:
    """The error that names the operation, to be raised."""
    return UnsupportedError(
        f"passes cannot work on the {operation.op} {operation.name or operation.outputs[0]!r} of this file: {why}; "
        "give the PyTorch model"
    )
