"""A weight transform: while training, a weight's compression is a parametrization of it.

Transforms compose in the order in which they were added: mask, then codebook, and so on. Each one says twice what it
does: on the tensor that trains (``forward``) and on the representation that ships (``represent``); the two agree
element by element, which a law tests for every subclass.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gossamer.weights import Dense, Weight


class WeightTransform(nn.Module, abc.ABC):
    """One step from the weight that is trained to the weight that ships.

    Final subclasses keep what they need as buffers (fixed) or parameters (trained), and take the same things by name in
    their constructor, so that ``type(t)(**t.arguments())`` is an equal transform: how checkpoints store it.
    """

    @abc.abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """The transformed weight, of the same shape; differentiable in what is trained."""

    @abc.abstractmethod
    def represent(self, weight: Weight) -> Weight:
        """The same step on the representation."""

    @abc.abstractmethod
    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """The constructor's arguments that rebuild this transform as it is now."""


def _owner(graph: nn.Module, weight: str) -> tuple[nn.Module, str]:
    path, _, name = weight.rpartition(".")
    return graph.get_submodule(path), name


def add_transform(graph: nn.Module, weight: str, transform: WeightTransform) -> None:
    """Append ``transform`` to the weight called ``weight`` ("fc1.weight"). Mutates ``graph``: passes copy first."""
    owner, name = _owner(graph, weight)
    original = owner.get_parameter(name) if not parametrize.is_parametrized(owner, name) else None
    device = original.device if original is not None else getattr(owner, name).device
    parametrize.register_parametrization(owner, name, transform.to(device), unsafe=True)


def transforms(graph: nn.Module, weight: str) -> list[WeightTransform]:
    """The transforms of the weight called ``weight``, first applied first; empty where it has none."""
    owner, name = _owner(graph, weight)
    if not parametrize.is_parametrized(owner, name):
        return []
    return list(owner.parametrizations[name])  # type: ignore[index, arg-type]


def original(graph: nn.Module, weight: str) -> Tensor:
    """The tensor under all transforms: the parameter that the optimizer may update."""
    owner, name = _owner(graph, weight)
    if not parametrize.is_parametrized(owner, name):
        return getattr(owner, name)  # type: ignore[no-any-return]
    return owner.parametrizations[name].original  # type: ignore[index, return-value, union-attr]


def transformed_weights(graph: nn.Module) -> Iterator[str]:
    """Names of all weights that carry at least one transform, in module order."""
    for path, module in graph.named_modules():
        if parametrize.is_parametrized(module):
            for name in module.parametrizations:  # type: ignore[union-attr]
                yield f"{path}.{name}" if path else str(name)


@torch.no_grad()
def represent(graph: nn.Module, weight: str) -> Weight:
    """The weight called ``weight`` as it ships, all of its transforms applied."""
    value: Weight = Dense(original(graph, weight).detach().cpu().numpy())
    for transform in transforms(graph, weight):
        value = transform.represent(value)
    return value
