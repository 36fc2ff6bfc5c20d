"""Task: what the network must still be able to do, and how well a network does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from gossamer import metrics
from gossamer._nested import batch_size, concatenate, describe, to_arrays, to_cpu_tensors, to_device
from gossamer.errors import TaskError

Run: TypeAlias = Callable[[Any], Any]  # inputs, as the loader gives them -> outputs


@dataclass(frozen=True)
class Task:
    """Data, loss and metric: what must not be lost.

    ``train``, ``valid``: iterables of ``(inputs, targets)`` batches (a DataLoader, a list of batches),
    iterated afresh every epoch; ``inputs`` is a tensor, a tuple of tensors or a dict by input name.
    ``calib``: an iterable of inputs alone, for passes that need no labels. ``loss(outputs, targets) ->
    scalar Tensor``, a mean over the batch. ``metric(outputs, targets) -> float`` sees the outputs and
    targets of the whole validation set, concatenated along the batch dimension, on CPU. ``maximize``:
    whether a larger metric is better.

    Raises TaskError for what can be seen at once: a generator that runs only once, an empty list, a loss
    that cannot be called. The rest (a loss that is not a scalar, a metric that returns a tensor) raises
    TaskError where it shows.
    """

    train: Iterable[Any] | None = None
    valid: Iterable[Any] | None = None
    calib: Iterable[Any] | None = None
    loss: Callable[[Any, Any], Tensor] | None = None
    metric: Callable[[Any, Any], float] | None = None
    maximize: bool = True

    def __post_init__(self) -> None:
        for role in ("train", "valid", "calib"):
            _check_loader(role, getattr(self, role))
        for role in ("loss", "metric"):
            function = getattr(self, role)
            if function is not None and not callable(function):
                raise TaskError(
                    f"Task({role}={describe(function)}): not callable; pass a function of (outputs, targets)"
                )
        if self.maximize and any(self.metric is metric for metric in metrics.SMALLER_IS_BETTER):
            name = metrics.name(self.metric)
            raise TaskError(
                f"Task(metric={name}): smaller is better; write Task(metric={name}, maximize=False)"
            )

    def better(self, metric: float, than: float) -> bool:
        """Whether ``metric`` is better than another value of it."""
        return metric > than if self.maximize else metric < than

    def require(self, part: str) -> Any:
        """The field called ``part``. Raises TaskError where it is None."""
        value = getattr(self, part)
        if value is None:
            raise TaskError(f"the Task has no {part}; give it one: Task(..., {part}={_EXAMPLES[part]})")
        return value


_EXAMPLES = {
    "train": "loader",
    "valid": "loader",
    "calib": "inputs",
    "loss": "torch.nn.functional.cross_entropy",
    "metric": "gossamer.metrics.accuracy",
}


def call(network: Callable[..., Any], inputs: Any) -> Any:
    """``network`` applied to inputs as a loader gives them: a tensor, a tuple or list of them, or a dict."""
    if isinstance(inputs, Tensor):
        return network(inputs)
    if isinstance(inputs, Mapping):
        return network(**inputs)
    return network(*inputs) if isinstance(inputs, tuple | list) else network(inputs)


def device_of(network: nn.Module) -> torch.device:
    """Where the network's first parameter or buffer is; the CPU where it has none."""
    first = next(chain(network.parameters(), network.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def training_batches(task: Task) -> Iterator[tuple[Any, Any]]:
    """One epoch of checked ``(inputs, targets)``. Raises TaskError where there is none."""
    return _batches("train", task.require("train"))


def validation_batches(task: Task) -> Iterator[tuple[Any, Any]]:
    """The validation set's checked ``(inputs, targets)``. Raises TaskError where there is none."""
    return _batches("valid", task.require("valid"))


def example_inputs(task: Task) -> Any:
    """The inputs of the first batch of ``calib``, ``train`` or ``valid``, whichever the Task has first.

    Raises TaskError where it has none of them.
    """
    if task.calib is not None:
        for inputs in task.calib:
            return inputs
        raise TaskError(f"Task(calib={describe(task.calib)}) gave no inputs; pass at least one batch")
    if task.train is None and task.valid is None:
        raise TaskError(
            "the Task has no data; give it inputs: Task(train=loader, ...), or Task(calib=inputs)"
        )
    return next(training_batches(task) if task.train is not None else validation_batches(task))[0]


def calibration_inputs(task: Task) -> Iterator[Any]:
    """The inputs of every batch of ``calib``, or without it of ``train`` or ``valid``. Raises TaskError."""
    if task.calib is not None:
        yield from task.calib
    elif task.train is None and task.valid is None:
        example_inputs(task)
    else:
        batches = training_batches(task) if task.train is not None else validation_batches(task)
        yield from (inputs for inputs, _ in batches)


def loss_of(task: Task, outputs: Any, targets: Any) -> Tensor:
    """``task.loss(outputs, targets)``, checked to be a scalar tensor. Raises TaskError."""
    loss = task.require("loss")(outputs, targets)
    if not isinstance(loss, Tensor) or loss.dim() != 0 or not loss.is_floating_point():
        repair = "; reduce it over the batch: loss.mean()" if isinstance(loss, Tensor) else ""
        raise TaskError(
            f"{_called(task.loss)} must return a scalar floating-point Tensor, and returned "
            f"{describe(loss)}{repair}"
        )
    return loss


def score(run: Run, task: Task, batches: Iterable[Any] | None = None) -> float:
    """The metric of ``run(inputs) -> outputs`` over the validation set, or over other batches.

    ``inputs`` are as the loader gives them; outputs may be tensors on any device or NumPy arrays.
    Everything that is measured, torch graph or native Engine, is measured here, so that the figures can be
    compared. Raises TaskError where the metric, the validation set or their results cannot be used.
    """
    metric = task.require("metric")
    batches = task.require("valid") if batches is None else batches
    outputs, targets = [], []
    for batch_inputs, batch_targets in _batches("valid", batches):
        outputs.append(to_cpu_tensors(run(batch_inputs)))
        targets.append(to_cpu_tensors(batch_targets))
    value = metric(concatenate(outputs, "the outputs"), concatenate(targets, "the targets"))
    return _checked_metric(metric, value)


def evaluate(network: nn.Module, task: Task) -> float:
    """The validation metric of ``network``, on its device, in eval mode (restored after), without gradients."""
    device = device_of(network)
    with _evaluating(network):
        return score(lambda inputs: call(network, to_device(inputs, device)), task)


def evaluate_with(run: Callable[..., Any], task: Task) -> float:
    """The validation metric of a function of NumPy arrays, such as a native Engine.

    A tuple of inputs is passed as positional arguments, a dict by name; outputs are arrays (or tuples,
    dicts of them).
    """
    return score(lambda inputs: call(run, to_arrays(inputs)), task)


def evaluate_loss(network: nn.Module, task: Task) -> float:
    """The mean loss per example over the validation set; mode and gradients as in :func:`evaluate`."""
    device = device_of(network)
    total, examples = 0.0, 0
    with _evaluating(network):
        for inputs, targets in validation_batches(task):
            outputs = call(network, to_device(inputs, device))
            loss = loss_of(task, outputs, to_device(targets, device)).item()
            if math.isnan(loss):
                raise TaskError(
                    f"{_called(task.loss)} returned NaN on a validation batch; the inputs, the targets or "
                    "the weights hold NaN, or the loss takes the logarithm or root of zero"
                )
            size = batch_size(inputs)
            total, examples = total + loss * size, examples + size
    return total / examples


@contextmanager
def modes_restored(network: nn.Module) -> Iterator[None]:
    """Afterwards every submodule is in the mode, train or eval, that it was in before."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode without gradients."""
    with modes_restored(network), torch.no_grad():
        network.eval()
        yield


def _check_loader(role: str, loader: Any) -> None:
    if loader is None:
        return
    if isinstance(loader, Iterator):
        raise TaskError(
            f"Task({role}={describe(loader)}): this runs only once, and every epoch iterates afresh; pass "
            f"a DataLoader, or list({role})"
        )
    if not isinstance(loader, Iterable) and not hasattr(loader, "__getitem__"):
        raise TaskError(
            f"Task({role}={describe(loader)}): not iterable; pass a DataLoader or a list of batches"
        )
    if isinstance(loader, Tensor):
        raise TaskError(f"Task({role}={describe(loader)}): a tensor is not a loader; pass a list of batches")
    if isinstance(loader, tuple | list) and not loader:
        raise TaskError(f"Task({role}={loader!r}): empty; pass at least one batch")


def _batches(role: str, loader: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    empty = True
    for batch in loader:
        empty = False
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TaskError(
                f"Task({role}=...): a batch must be a pair (inputs, targets), and one is "
                f"{describe(batch)}; wrap the loader, for example [((a, b), y) for a, b, y in loader]"
            )
        yield batch[0], batch[1]
    if empty:
        raise TaskError(
            f"Task({role}={describe(loader)}) gave no batch; the dataset is empty, or smaller than one "
            "batch with drop_last=True, or an iterable that runs only once"
        )


def _checked_metric(metric: Callable[[Any, Any], float], value: Any) -> float:
    if isinstance(value, Tensor):
        repair = "call .item()" if value.numel() == 1 else "reduce it to one number: .mean().item()"
        raise TaskError(f"{_called(metric)} must return a float, and returned {describe(value)}; {repair}")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TaskError(f"{_called(metric)} must return a float, and returned {describe(value)}")
    if math.isnan(value):
        raise TaskError(f"{_called(metric)} returned NaN; the outputs hold NaN, or it divides zero by zero")
    return float(value)


def _called(function: Any) -> str:
    return metrics.name(function)
