"""Which tensors of a network train, which are penalized, and what all of them together are (a digest)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.fx
from torch import nn

from gossamer.errors import GraphError, RecipeError


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that require a gradient, in module order.

    Raises RecipeError, with names, where there is none.
    """
    found = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not found:
        names = [name for name, _ in network.named_parameters()]
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise RecipeError(
            f"Finetune: nothing to train: the network has {len(names)} parameters ({listed or 'none'}), "
            "and none requires a gradient; call requires_grad_(True) on those that should train, or take "
            "the pass out of the recipe"
        )
    return found


def require_finite(network: nn.Module) -> None:
    """Raises GraphError, with the name, for a weight that holds NaN or infinity: no training repairs it."""
    for name, parameter in network.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise GraphError(
                f"{name} holds NaN or infinity before any training; load a sound network (its training "
                "diverged, or its file is damaged)"
            )


@contextmanager
def without_gradient_set_aside(network: nn.Module, rehearse: Callable[[], None]) -> Iterator[None]:
    """Let parameters that get no gradient (that under a codebook, an unused head) not require one for a while.

    An optimizer leaves them alone anyway, but processes that exchange gradients would wait for theirs.
    ``rehearse`` computes the gradients of one batch; what it does to buffers is undone.
    """
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    rehearse()
    idle = [
        parameter for parameter in network.parameters() if parameter.requires_grad and parameter.grad is None
    ]
    network.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    for parameter in idle:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in idle:
            parameter.requires_grad_(True)


def digest(network: nn.Module) -> str:
    """SHA-256 over the code of a graph and the names, shapes and bytes of all its state."""
    code = network.code if isinstance(network, torch.fx.GraphModule) else type(network).__qualname__
    hasher = hashlib.sha256(code.encode())
    for name, value in network.state_dict().items():
        hasher.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        hasher.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return hasher.hexdigest()
