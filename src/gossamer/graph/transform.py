"""A weight transform: while training, a weight's compression is a parametrization of it.

Transforms compose in the order in which they were added: mask, then codebook, and so on. Each one says twice
what it does: on the tensor that trains (``forward``) and on the representation that ships (``represent``);
the two agree element by element, which a law tests for every subclass.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gossamer.weights import Dense, Weight


class WeightTransform(nn.Module, abc.ABC):
    """One step from the weight that is trained to the weight that ships.

    Final subclasses keep what they need as buffers (fixed) or parameters (trained), and take the same things
    by name in their constructor, so that ``type(t)(**t.arguments())`` is an equal transform: how checkpoints
    store it.
    """

    @abc.abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """The transformed weight, of the same shape; differentiable in what is trained."""

    @abc.abstractmethod
    def represent(self, weight: Weight) -> Weight:
        """The same step on the representation."""

    def narrowed(self, shape: tuple[int, ...], axis: int, kept: Tensor) -> WeightTransform:
        """This transform for the weight of which the indices ``kept`` (int64) of ``axis`` are left.

        ``shape``: the weight's before. Arguments of the weight's shape lose what the weight loses; a transform with
        others that depend on the axis overrides this.
        """
        arguments = {
            name: value.index_select(axis, kept)
            if isinstance(value, Tensor) and value.shape == shape
            else value
            for name, value in self.arguments().items()
        }
        new = type(self)(**arguments)
        for name, parameter in self.named_parameters():
            new.get_parameter(name).requires_grad_(parameter.requires_grad)
        return new

    def settle(self, original: Tensor, chance: torch.Generator) -> None:
        """After an optimizer's update: bring the tensor under all transforms, in place, to where it may be.

        For a method that trains clipped or rounded weights; by default nothing. ``chance``: the same in every process.
        """
        del original, chance

    @abc.abstractmethod
    def arguments(self) -> dict[str, Tensor | int | float | bool | str]:
        """The constructor's arguments that rebuild this transform as it is now."""


def owner_of(graph: nn.Module, weight: str) -> tuple[nn.Module, str]:
    """The module that holds ``weight``, and its name there; of a shared weight, any of its names will do."""
    tied: dict[str, str] = getattr(graph, "tied", {})
    path, _, name = tied.get(weight, weight).rpartition(".")
    return graph.get_submodule(path), name


def _steps(owner: nn.Module, name: str) -> parametrize.ParametrizationList | None:
    if not parametrize.is_parametrized(owner, name):
        return None
    return cast(parametrize.ParametrizationList, cast(nn.ModuleDict, owner.parametrizations)[name])


def add_transform(graph: nn.Module, weight: str, transform: WeightTransform) -> None:
    """Append ``transform`` to the weight called ``weight`` ("fc1.weight"). Mutates ``graph``: passes copy
    first.
    """
    owner, name = owner_of(graph, weight)
    device = original(graph, weight).device
    parametrize.register_parametrization(owner, name, transform.to(device), unsafe=True)
    cast(nn.ModuleDict, owner.parametrizations).train(owner.training)


def replace_transform(graph: nn.Module, weight: str, index: int, transform: WeightTransform) -> None:
    """Put ``transform`` in the place of the one at ``index`` (as in :func:`transforms`). Mutates ``graph``.

    Raises IndexError where ``weight`` has no transform there.
    """
    owner, name = owner_of(graph, weight)
    steps = _steps(owner, name)
    if steps is None:
        raise IndexError(f"weight {weight!r} has no transforms, so none at {index} to replace")
    steps[index] = transform.to(original(graph, weight).device).train(owner.training)


def transforms(graph: nn.Module, weight: str) -> list[WeightTransform]:
    """The transforms of the weight called ``weight``, first applied first; empty where it has none."""
    return cast(list[WeightTransform], list(_steps(*owner_of(graph, weight)) or ()))


def original(graph: nn.Module, weight: str) -> Tensor:
    """The tensor under all transforms: the parameter that the optimizer may update."""
    owner, name = owner_of(graph, weight)
    steps = _steps(owner, name)
    return cast(Tensor, getattr(owner, name) if steps is None else steps.original)


def effective(graph: nn.Module, weight: str) -> Tensor:
    """The weight called ``weight`` with its transforms applied, detached: what the operators see in eval mode."""
    owner, name = owner_of(graph, weight)
    steps = _steps(owner, name)
    modes = [] if steps is None else [(module, module.training) for module in steps.modules()]
    for module, _ in modes:
        module.training = False  # what is drawn at random or observed while training stays out
    value: Tensor = getattr(owner, name)
    for module, training in modes:
        module.training = training
    return value.detach()


def transformed_weights(graph: nn.Module) -> Iterator[str]:
    """Names of all weights that carry at least one transform, in module order."""
    for path, module in graph.named_modules():
        if parametrize.is_parametrized(module):
            for name in cast(nn.ModuleDict, module.parametrizations):
                yield f"{path}.{name}" if path else str(name)


@torch.no_grad()
def represent(graph: nn.Module, weight: str) -> Weight:
    """The weight called ``weight`` as it ships, all of its transforms applied."""
    value: Weight = Dense(original(graph, weight).detach().cpu().numpy().copy())
    for transform in transforms(graph, weight):
        value = transform.represent(value)
    return value


@torch.no_grad()
def settle(graph: nn.Module, weights: Sequence[str], chance: torch.Generator) -> None:
    """What the transforms of ``weights`` do after an update (:meth:`WeightTransform.settle`)."""
    for weight in weights:
        for transform in transforms(graph, weight):
            transform.settle(original(graph, weight), chance)


def settling_weights(graph: nn.Module) -> list[str]:
    """The weights that have a transform with something to do after an update."""
    return [
        weight
        for weight in transformed_weights(graph)
        if any(type(each).settle is not WeightTransform.settle for each in transforms(graph, weight))
    ]


def class_name(cls: type) -> str:
    """How a transform's class is written down: "gossamer.prune.mask.Mask"."""
    return f"{cls.__module__}.{cls.__qualname__}"


def transform_classes() -> dict[str, type[WeightTransform]]:
    """Every kind of transform that has been imported, by :func:`class_name`."""
    classes: dict[str, type[WeightTransform]] = {}
    waiting: list[type[WeightTransform]] = WeightTransform.__subclasses__()
    for cls in waiting:
        waiting += cls.__subclasses__()
        classes.setdefault(class_name(cls), cls)  # torch.export leaves proxies, which come after the real one
    return classes
