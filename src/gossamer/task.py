"""Task: what the network must still be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Task:
    """Data, loss and metric: what must not be lost.

    ``train``, ``valid``: iterables of ``(inputs, targets)`` batches (a DataLoader, a list of batches), iterated afresh
    every epoch; ``inputs`` is a tensor, a tuple of tensors or a dict by input name. ``calib``: an iterable of inputs
    alone, for passes that need no labels. ``loss(outputs, targets) -> scalar Tensor``. ``metric(outputs, targets) ->
    float`` sees the outputs and targets of the whole validation set, concatenated along the batch dimension, on CPU.
    ``maximize``: whether a larger metric is better.
    """

    train: Iterable[Any] | None = None
    valid: Iterable[Any] | None = None
    calib: Iterable[Any] | None = None
    loss: Callable[[Any, Any], Tensor] | None = None
    metric: Callable[[Any, Any], float] | None = None
    maximize: bool = True
