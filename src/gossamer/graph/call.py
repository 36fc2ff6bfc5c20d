"""One batch as the user's model is called with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gossamer.errors import TraceError
from gossamer.graph.module import Input


@dataclass(frozen=True)
class Call:
    """``args`` and then ``kwargs`` (in the order of forward's signature); ``names`` are those of all."""

    args: tuple[Tensor, ...]
    kwargs: dict[str, Tensor]
    names: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(f"{n} {tuple(t.shape)}" for n, t in zip(self.names, self.tensors, strict=True))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All inputs in calling order."""
        return (*self.args, *self.kwargs.values())

    @property
    def batch(self) -> int:
        """The batch size."""
        return self.tensors[0].shape[0]

    def batched(self, tensor: Tensor) -> bool:
        """Whether the first dimension of ``tensor`` is the batch."""
        return tensor.ndim > 0 and tensor.shape[0] == self.batch

    def sized(self, rows: int) -> Call:
        """Fresh copies of the inputs with this many rows, repeating those that there are."""

        def fit(tensor: Tensor) -> Tensor:
            if not self.batched(tensor):
                return tensor.detach().clone()
            return tensor.detach()[torch.arange(rows, device=tensor.device) % self.batch].clone()

        return Call(tuple(map(fit, self.args)), {k: fit(v) for k, v in self.kwargs.items()}, self.names)

    def signature(self) -> tuple[Input, ...]:
        """What the graph is told about its inputs."""
        return tuple(
            Input(name, tuple(t.shape), t.dtype, self.batched(t))
            for name, t in zip(self.names, self.tensors, strict=True)
        )

    def of(self, model: Callable[..., Any], rows: int) -> Any:
        """The outputs of ``model`` on ``rows`` rows; random numbers are the same at every call."""
        inputs = self.sized(rows)
        devices = list({t.device for t in self.tensors if t.is_cuda})
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            return model(*inputs.args, **inputs.kwargs)


def bind(model: nn.Module, example: object) -> Call:
    """Sort the example by the signature of forward, and check that it is one batch of tensors."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(example, Tensor):
        args = (example,)
    elif isinstance(example, Mapping):
        kwargs = dict(example)
    elif isinstance(example, (tuple, list)):
        args = tuple(example)
    else:
        raise TraceError(
            f"an example is a tensor, a tuple of tensors or a dict by name, not {type(example).__name__}"
        )
    signature = inspect.signature(model.forward)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TraceError(
            f"{type(model).__name__}.forward{signature} does not take this example: {error}"
        ) from error
    order = list(signature.parameters)
    kwargs = dict(
        sorted(kwargs.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))
    )
    names = (*_positional_names(signature, bound.arguments, len(args)), *kwargs)
    for name, value in zip(names, (*args, *kwargs.values()), strict=True):
        if not isinstance(value, Tensor):
            raise TraceError(
                f"input {name!r} is {type(value).__name__}, and a graph takes tensors only: leave it out, or "
                "fix it in a small wrapper module"
            )
    if not names or (*args, *kwargs.values())[0].ndim == 0:
        raise TraceError("an example has at least one tensor, and the first one has a batch dimension")
    return Call(args, kwargs, names)


def _positional_names(signature: inspect.Signature, bound: Mapping[str, Any], count: int) -> tuple[str, ...]:
    names: list[str] = []
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{name}_{i}" for i in range(len(bound.get(name, ())))]
        else:
            names.append(name)
    return tuple(names[:count])
