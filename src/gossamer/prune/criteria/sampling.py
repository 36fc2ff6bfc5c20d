"""Criteria that look at data: a copy of the network whose weights are leaves, and batches of the training set."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize

from gossamer._nested import batch_size, slice_batch, to_device
from gossamer.errors import RecipeError
from gossamer.graph import Graph, effective
from gossamer.task import Task, call, device_of, loss_of, training_batches
from gossamer.train.randomness import preserved_randomness, seed_everything, seed_loader

from .criterion import Criterion


class _Leaf(nn.Module):
    """The last parametrization of a weight: whatever came before, the weight is this parameter."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value.clone())

    def forward(self, weight: Tensor) -> Tensor:
        del weight
        return self.value


@dataclass(frozen=True, eq=False)
class Probe:
    """A copy of a graph in which every one of ``leaves`` is the effective weight itself, and nothing else trains."""

    graph: Graph
    leaves: dict[str, nn.Parameter]

    @classmethod
    def of(cls, graph: Graph, weights: Sequence[str], training: bool = False) -> Probe:
        """A probe in eval mode, or in train mode where ``training``."""
        probe = copy.deepcopy(graph).requires_grad_(False).train(training)
        leaves = {}
        for name in weights:
            leaf = _Leaf(effective(graph, name))
            path, _, last = graph.tied.get(name, name).rpartition(".")
            owner = probe.get_submodule(path)
            parametrize.register_parametrization(owner, last, leaf, unsafe=True)
            leaves[name] = leaf.value
        return cls(probe, leaves)

    def outputs(self, inputs: Any, order: int = 1) -> Any:
        """The graph's outputs, which have derivatives of ``order``: fused attention has none of the second, nor has
        torch's hard sigmoid.
        """
        if order > 1:
            _spell_out(self.graph)
        with sdpa_kernel(SDPBackend.MATH) if order > 1 else nullcontext():
            return call(self.graph, inputs)

    def gradients(self, loss: Tensor, create_graph: bool = False) -> dict[str, Tensor]:
        """d loss / d weight by name; zero where the loss does not depend on a weight."""
        if not loss.requires_grad:
            return {name: torch.zeros_like(leaf) for name, leaf in self.leaves.items()}
        values = tuple(self.leaves.values())
        found = torch.autograd.grad(
            loss, values, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
        return {
            name: torch.zeros_like(leaf) if gradient is None else gradient
            for (name, leaf), gradient in zip(self.leaves.items(), found, strict=True)
        }

    def along(self, gradients: dict[str, Tensor], direction: dict[str, Tensor]) -> dict[str, Tensor]:
        """d (gradients . direction) / d weight: the Hessian times ``direction``, of gradients with a graph."""
        product = sum(
            ((gradients[name] * direction[name]).sum() for name in self.leaves), start=torch.zeros(())
        )
        return self.gradients(product)


def _spell_out(graph: Graph) -> None:
    """Replace operators whose derivative torch cannot derive once more by what they are made of."""
    for node in (node for node in graph.graph.nodes if node.target in _SPELLED_OUT):
        node.target = _SPELLED_OUT[node.target]
    graph.recompile()


def _hard_sigmoid(x: Tensor) -> Tensor:
    return (x + 3).clamp(0, 6) / 6


def _hard_sigmoid_(x: Tensor) -> Tensor:
    return x.copy_(_hard_sigmoid(x))


_SPELLED_OUT: dict[Any, Callable[[Tensor], Tensor]] = {
    torch.ops.aten.hardsigmoid.default: _hard_sigmoid,
    torch.ops.aten.hardsigmoid_.default: _hard_sigmoid_,
}


@dataclass(frozen=True)
class Sampled(Criterion):
    """A criterion that looks at training batches.

    ``batches``: how many, None for all. ``seed``: of what is random about them (order, augmentation).
    """

    batches: int | None = 16
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.batches is not None and self.batches < 1:
            raise RecipeError(
                f"{type(self).__name__}: batches is {self.batches}; give 1 or more, or None for all"
            )

    def check(self, graph: Graph, task: Task) -> None:
        """Training batches and a loss are needed."""
        del graph
        task.require("train")
        task.require("loss")

    @contextmanager
    def sample(self, graph: Graph, task: Task) -> Iterator[Iterator[tuple[Any, Any]]]:
        """The batches, on the graph's device; the global random generators are as before afterwards."""
        device = device_of(graph)
        with preserved_randomness(task.train), torch.enable_grad():
            seed_everything(self.seed)
            seed_loader(task.train, self.seed, 0)
            batches = islice(training_batches(task), self.batches)
            yield ((to_device(inputs, device), to_device(targets, device)) for inputs, targets in batches)

    def average(
        self,
        graph: Graph,
        task: Task,
        weights: Sequence[str],
        of: Callable[[Probe, Any, Any], dict[str, Tensor]],
        training: bool = False,
    ) -> dict[str, Tensor]:
        """``of(probe, inputs, targets)`` of every batch, averaged over the batches by their number of examples."""
        probe = Probe.of(graph, weights, training)
        total = {name: torch.zeros_like(leaf) for name, leaf in probe.leaves.items()}
        examples = 0
        with self.sample(graph, task) as batches:
            for inputs, targets in batches:
                size = batch_size(inputs)
                for name, value in of(probe, inputs, targets).items():
                    total[name] += size * value.detach()
                examples += size
        return {name: value / examples for name, value in total.items()}

    def mean(
        self,
        graph: Graph,
        task: Task,
        weights: Sequence[str],
        of: Callable[[Probe, Tensor], dict[str, Tensor]],
        training: bool = False,
        order: int = 1,
    ) -> dict[str, Tensor]:
        """``of(probe, loss of a batch)``, averaged as above; the loss has derivatives of ``order``."""

        def of_batch(probe: Probe, inputs: Any, targets: Any) -> dict[str, Tensor]:
            return of(probe, loss_of(task, probe.outputs(inputs, order), targets))

        return self.average(graph, task, weights, of_batch, training)

    def single(self, graph: Graph, task: Task, most: int | None) -> Iterator[tuple[Any, Any]]:
        """Examples as batches of one, at most ``most`` of them."""
        with self.sample(graph, task) as batches:
            one = (
                (slice_batch(inputs, i, i + 1), slice_batch(targets, i, i + 1))
                for inputs, targets in batches
                for i in range(batch_size(inputs))
            )
            yield from islice(one, most)


def flat(values: dict[str, Tensor]) -> Tensor:
    """All of them as one vector."""
    return torch.cat([value.flatten() for value in values.values()])


def detached(values: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Without gradients."""
    return cast(dict[str, Tensor], {name: value.detach() for name, value in values.items()})
