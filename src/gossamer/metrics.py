"""Metrics: ``metric(outputs, targets) -> float`` over a whole validation set.

``outputs``: what the network returned; ``targets``: what the loader gave; both concatenated along the batch
dimension, on CPU. Every function here raises TaskError where the two do not fit together, instead of
broadcasting them into a number that means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from gossamer._nested import describe
from gossamer.errors import TaskError


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """The share of examples whose largest output is the target, 0 to 1.

    ``outputs``: [n, classes, ...], scores of any scale. ``targets``: [n, ...], class indices; or of the
    shape of ``outputs`` (one-hot, soft labels), where the largest counts.
    """
    classes = _classes("accuracy", outputs, targets)
    return (outputs.argmax(1) == classes).double().mean().item()


def error(outputs: Tensor, targets: Tensor) -> float:
    """``1 - accuracy``: smaller is better, so ``Task(..., maximize=False)``."""
    classes = _classes("error", outputs, targets)
    return (outputs.argmax(1) != classes).double().mean().item()


@final
@dataclass(frozen=True)
class TopK:
    """The share of examples whose target is among the ``k`` largest outputs, 0 to 1.

    Shapes as in :func:`accuracy`.
    """

    k: int = 5

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """The share, as a float."""
        classes = _classes(f"TopK({self.k})", outputs, targets)
        if not 1 <= self.k <= outputs.shape[1]:
            raise TaskError(
                f"TopK({self.k}): the network has {outputs.shape[1]} classes; choose k between 1 and that"
            )
        among = outputs.topk(self.k, dim=1).indices == classes.unsqueeze(1)
        return among.any(1).double().mean().item()


def top5(outputs: Tensor, targets: Tensor) -> float:
    """``TopK(5)``: the share of examples whose target is among the five largest outputs."""
    return TopK(5)(outputs, targets)


def binary_accuracy(outputs: Tensor, targets: Tensor) -> float:
    """The share of elements where the logit's sign agrees with the target (above 0.5 is true).

    Equal shapes.
    """
    _same_shape("binary_accuracy", outputs, targets)
    return ((outputs > 0) == (targets > 0.5)).double().mean().item()


def mean_squared_error(outputs: Tensor, targets: Tensor) -> float:
    """The mean of ``(outputs - targets)**2`` over all elements, summed in float64.

    Equal shapes; smaller is better.
    """
    _same_shape("mean_squared_error", outputs, targets)
    return (outputs.double() - targets.double()).square().mean().item()


def mean_absolute_error(outputs: Tensor, targets: Tensor) -> float:
    """The mean of ``|outputs - targets|`` over all elements, summed in float64.

    Equal shapes; smaller is better.
    """
    _same_shape("mean_absolute_error", outputs, targets)
    return (outputs.double() - targets.double()).abs().mean().item()


SMALLER_IS_BETTER = (error, mean_squared_error, mean_absolute_error)


def name(metric: Any) -> str:
    """How a metric is called in code: the function's name, or the object's repr ("TopK(k=5)")."""
    return str(getattr(metric, "__name__", None) or repr(metric))


def title(metric: Any) -> str:
    """How a metric is called in a report: its name in words ("mean squared error")."""
    return "error rate" if metric is error else name(metric).replace("_", " ")


def _classes(metric: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """The target classes, [n, ...], once it is certain that they can be compared with ``outputs``."""
    _tensors(metric, outputs, targets)
    if outputs.dim() >= 2 and targets.shape == outputs.shape:
        return targets.argmax(1)
    if outputs.dim() < 2 or targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        raise TaskError(
            f"{metric}: outputs {list(outputs.shape)} and targets {list(targets.shape)} do not fit; it "
            "takes outputs [n, classes, ...] with class indices [n, ...]; write a metric of your own for "
            "anything else"
        )
    if targets.is_floating_point() or targets.is_complex():
        raise TaskError(
            f"{metric}: targets are {describe(targets)}, not class indices; convert them with .long()"
        )
    return targets


def _same_shape(metric: str, outputs: Tensor, targets: Tensor) -> None:
    _tensors(metric, outputs, targets)
    if outputs.shape != targets.shape:
        raise TaskError(
            f"{metric}: outputs {list(outputs.shape)} and targets {list(targets.shape)} differ in shape, "
            "and would be broadcast; reshape one in the loader or in a metric of your own"
        )


def _tensors(metric: str, outputs: Any, targets: Any) -> None:
    for role, value in (("outputs", outputs), ("targets", targets)):
        if not isinstance(value, Tensor):
            raise TaskError(
                f"{metric}: {role} are {describe(value)}, not one tensor; choose the one that counts in a "
                f"metric of your own: lambda outputs, targets: gossamer.metrics.{metric}(outputs[0], "
                "targets)"
            )
    if outputs.is_floating_point() and bool(torch.isnan(outputs).any()):
        raise TaskError(f"{metric}: the outputs hold NaN; the network or its inputs are broken")
