"""OBS: optimal brain surgeon, with the weights that stay corrected for those that go.

Hassibi, Stork: Second Order Derivatives for Network Pruning: Optimal Brain Surgeon. 1993, equations 5 and 6. Singh,
Alistarh: WoodFisher: Efficient Second-Order Approximation for Neural Network Compression. 2020 (in blocks; with the
empirical Fisher matrix).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, effective, note, original, transforms
from gossamer.task import Task, loss_of

from ..mask import Mask
from .curvature import gauss_newton
from .sampling import Probe, Sampled

_CHUNK = 32  # gradients of examples that are multiplied at a time


@final
@dataclass(frozen=True)
class OBS(Sampled):
    """s = w_q^2 / (2 [F^-1]_qq); the weights K that stay are changed by d = F_KK^-1 F_KQ w_Q for those Q that go.

    F = G + ``damping`` h I, with G the mean of g g^T over at most ``examples`` examples, in blocks of ``block``
    neighbouring weights of a layer, and h the mean of its diagonal over all layers. g of an example is a sample of its
    Gauss-Newton matrix (:func:`.curvature.gauss_newton`); with ``empirical`` it is the gradient, as in WoodFisher,
    which is next to nothing for what a network has learned. d is the minimum of d^T F d with d_Q = -w_Q, for all of Q
    at once (of a single weight it is OBS's -w_q F^-1 e_q / [F^-1]_qq). Weights under other transforms than masks are
    not changed.
    """

    examples: int = 400
    block: int = 64
    damping: float = 0.01
    empirical: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.examples < 1 or self.block < 1 or not self.damping > 0:
            raise RecipeError(f"{self}: needs examples >= 1, block >= 1 and damping > 0")

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        found = {}
        for name, fisher in self._fishers(graph, task, weights).items():
            weight = effective(graph, name)
            curvature = torch.linalg.inv(fisher).diagonal(dim1=1, dim2=2)
            score = self._blocks(weight).double().square() / (2 * curvature)
            found[name] = score.flatten()[: weight.numel()].view(weight.shape).to(weight.dtype)
        return found

    @torch.no_grad()
    def compensate(self, graph: Graph, task: Task, kept: Mapping[str, Tensor]) -> None:
        """See :class:`Criterion`."""
        free = [name for name in kept if all(isinstance(t, Mask) for t in transforms(graph, name))]
        for name in kept.keys() - set(free):
            note(name, "OBS leaves the other weights as they are: they are under a transform")
        for name, fisher in self._fishers(graph, task, free).items():
            weight = effective(graph, name)
            stays = self._blocks(kept[name]).double()
            goes, values = 1 - stays, self._blocks(weight).double()
            inner = stays.unsqueeze(2) * fisher * stays.unsqueeze(1) + torch.diag_embed(goes)
            pull = stays * torch.einsum("bij,bj->bi", fisher, goes * values)
            change = torch.linalg.solve(inner, pull).flatten()[: weight.numel()].view(weight.shape)
            original(graph, name).add_(change.to(weight.dtype) * kept[name])

    def _fishers(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """By weight, (blocks, block, block), float64."""
        total: dict[str, Tensor] = {}
        chunk: list[dict[str, Tensor]] = []
        count = 0
        for gradients in self._gradients(graph, task, weights):
            chunk.append(gradients)
            count += 1
            if len(chunk) == _CHUNK:
                self._add(total, chunk)
        self._add(total, chunk)
        size = sum(effective(graph, name).numel() for name in total)
        mean = sum(float(f.diagonal(dim1=1, dim2=2).sum()) for f in total.values()) / count / size
        damping = self.damping * mean or 1.0  # without any curvature, the smallest weights go
        return {
            name: f / count + damping * torch.eye(self.block, dtype=f.dtype, device=f.device)
            for name, f in total.items()
        }

    def _gradients(self, graph: Graph, task: Task, weights: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """g of single examples."""
        probe = Probe.of(graph, weights)
        for inputs, targets in self.single(graph, task, self.examples):
            if self.empirical:
                yield probe.gradients(loss_of(task, probe.outputs(inputs), targets))
            else:
                yield from gauss_newton(probe, task, inputs, targets, samples=1)

    def _add(self, total: dict[str, Tensor], chunk: list[dict[str, Tensor]]) -> None:
        for name in chunk[0] if chunk else ():
            rows = torch.stack([self._blocks(gradients[name]) for gradients in chunk], dim=1).double()
            product = rows.transpose(1, 2) @ rows
            total[name] = total[name] + product if name in total else product
        chunk.clear()

    def _blocks(self, values: Tensor) -> Tensor:
        """(blocks, block), filled up with zeros."""
        flat = values.flatten()
        return torch.nn.functional.pad(flat, (0, -len(flat) % self.block)).view(-1, self.block)
