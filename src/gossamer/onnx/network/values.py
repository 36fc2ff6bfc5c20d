"""What operators are given: tensors, NumPy arrays (small constants) and lists (shapes that depend on the batch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gossamer.artifact.program import Operation
from gossamer.errors import UnsupportedError

# (operation, inputs) -> output or tuple of outputs, as in the standard.
Function = Callable[..., Any]


def tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """A value as a tensor."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list):
        return torch.stack([torch.as_tensor(part) for part in value])
    return torch.as_tensor(value, device=None if like is None else like.device)


def ints(value: Any) -> list[Any]:
    """A value as sizes: numbers, and symbols where they depend on the batch."""
    return value if isinstance(value, list) else np.asarray(value).reshape(-1).tolist()


def number(value: Any) -> Any:
    """The one number of a constant: read from the file, not while the network runs."""
    if isinstance(value, Tensor):
        raise UnsupportedError("bounds that are computed while running are not supported")
    return float(np.asarray(value).item())


def constant(operation: Operation, value: Any, what: str) -> np.ndarray[Any, Any]:
    """``value`` as an array. UnsupportedError, naming the operation, where it is computed while running."""
    if isinstance(value, Tensor):
        raise unsupported(operation, f"{what} is computed while running")
    return np.asarray(value)


def attribute(operation: Operation, name: str, default: Any) -> Any:
    """The operation's, or what the standard says for its absence."""
    return operation.attributes.get(name, default)


def unsupported(operation: Operation, why: str) -> UnsupportedError:
    """The error that names the operation, to be raised."""
    return UnsupportedError(
        f"passes cannot work on the {operation.op} {operation.name or operation.outputs[0]!r} of this file: {why}"
    )
