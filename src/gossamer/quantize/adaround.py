"""AdaRound: whether each weight is rounded up or down is learned, so that the outputs of its layer err least.

Nagel et al. 2020, Up or Down? Adaptive Rounding for Post-Training Quantization, equations 21 to 25.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Pass, effective, note
from gossamer.task import Task, modes_restored

from .calibrate import watch
from .corrected_fold import fold_corrected
from .run import QuantizedLayer, float_weights, hold, quantized_layers, quantizer_nodes, unquantized
from .segments import Segment, layer_segments

# The stretched sigmoid of equation 23 reaches 0 and 1.
_GAMMA, _ZETA = -0.1, 1.1


@dataclass(frozen=True)
class Rounding:
    """How rounding is learned: ``iterations`` of Adam over ``batch`` of the calibration's examples each.

    ``lr`` is Adam's; ``weight`` that of the term which drives every choice to up or down, after the first fifth of the
    iterations, relative to the error of rounding to the nearest.
    """

    iterations: int = 500
    batch: int = 32
    lr: float = 0.01
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.batch < 1 or not self.lr > 0 or not self.weight > 0:
            raise RecipeError(f"{self}: give iterations and batch of 1 or more, lr and weight above 0")


@dataclass(frozen=True)
class AdaRound(Pass):
    """After Quantize: learn the rounding of every layer's weights, one layer after the other, on calibration inputs.

    A layer reads what the quantized network before it gives, and aims at what the float network makes. ``batches``: at
    most so many calibration batches, which are held in memory for one layer at a time. Deterministic. Where learning
    does not beat rounding to the nearest, that stays, with a note.
    """

    rounding: Rounding = Rounding()
    batches: int | None = None

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` with other integers."""
        return reconstructed(graph, task, "AdaRound", layer_segments, self.rounding, self.batches)


def reconstructed(
    graph: Graph,
    task: Task,
    who: str,
    split: Callable[[Graph], list[Segment]],
    rounding: Rounding,
    batches: int | None,
) -> Graph:
    """A copy of ``graph`` in which the rounding of each segment is learned, in order."""
    result = copy.deepcopy(graph)
    fold_corrected(result)
    pieces = len(split(result))
    if not pieces:
        note(who, "nothing to do: no layer is quantized; put it behind Quantize")
    with modes_restored(result):
        reference = copy.deepcopy(result.eval())
        for place in range(pieces):
            segment, wanted = split(result)[place], split(reference)[place]
            inputs, targets = _pair(result, reference, segment, wanted, task, batches)
            _learn(result, segment, inputs, targets, rounding)
    return result


def _pair(
    result: Graph, reference: Graph, segment: Segment, wanted: Segment, task: Task, batches: int | None
) -> tuple[Tensor, Tensor]:
    """The segment's inputs in the quantized network, and its outputs in the float network."""
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    watch(result, task, batches, [(segment.start, inputs.append)])
    plain = float_weights(reference, quantized_layers(reference))
    watch(reference, task, batches, [(wanted.end, targets.append)], plain, quantizer_nodes(reference))
    return torch.cat(inputs), torch.cat(targets)


def _learn(graph: Graph, segment: Segment, inputs: Tensor, targets: Tensor, rounding: Rounding) -> None:
    soft = [_Soft(graph, layer) for layer in segment.layers]
    nearest = {each.layer.name: effective(graph, each.layer.name) for each in soft}
    before = _error(graph, segment, inputs, targets, nearest, rounding.batch)
    if before > 0:
        _train(graph, segment, soft, inputs, targets, rounding, before)
    learned = {each.layer.name: each.hard() for each in soft}
    after = _error(graph, segment, inputs, targets, learned, rounding.batch)
    if after >= before:
        note(
            segment.layers[-1].name,
            f"rounded to the nearest: learning gave an error of {after:.3g}, not {before:.3g}",
        )
        return
    for each in soft:
        hold(graph, each.layer, learned[each.layer.name])


def _train(
    graph: Graph,
    segment: Segment,
    soft: list[_Soft],
    inputs: Tensor,
    targets: Tensor,
    rounding: Rounding,
    scale: float,
) -> None:
    generator = torch.Generator().manual_seed(0)
    choices = [each.choice for each in soft]
    optimizer = torch.optim.Adam(choices, lr=rounding.lr)
    warm = rounding.iterations // 5
    with torch.enable_grad():
        for step in range(rounding.iterations):
            picked = torch.randint(len(inputs), (min(rounding.batch, len(inputs)),), generator=generator)
            weights = {each.layer.name: each.weight() for each in soft}
            output = segment.run(graph, inputs[picked.to(inputs.device)], weights)
            loss = (output - targets[picked.to(inputs.device)]).square().mean() / scale
            if step >= warm:
                progress = (step - warm) / max(1, rounding.iterations - warm)
                sharpness = 2 + 18 * (1 - progress)
                undecided = [1 - (2 * each.share() - 1).abs().pow(sharpness) for each in soft]
                loss = loss + rounding.weight * torch.cat([u.flatten() for u in undecided]).mean()
            gradients = torch.autograd.grad(loss, choices)
            for choice, gradient in zip(choices, gradients, strict=True):
                choice.grad = gradient
            optimizer.step()


@torch.no_grad()
def _error(
    graph: Graph, segment: Segment, inputs: Tensor, targets: Tensor, weights: dict[str, Tensor], batch: int
) -> float:
    total = 0.0
    for x, y in zip(torch.split(inputs, batch), torch.split(targets, batch), strict=True):
        total += float((segment.run(graph, x, weights) - y).square().mean()) * len(x)
    return total / len(inputs)


class _Soft:
    """A weight between its two neighbours on the grid: the lower one plus ``share`` of a step."""

    def __init__(self, graph: Graph, layer: QuantizedLayer) -> None:
        self.layer = layer
        weight = unquantized(graph, layer)
        self._scale, self._zero = layer.transform.spread_for(weight)
        self._kept = weight != 0
        ratio = weight / self._scale
        self._floor = ratio.floor()
        start = ((ratio - self._floor - _GAMMA) / (_ZETA - _GAMMA)).clamp(1e-4, 1 - 1e-4)
        self.choice = nn.Parameter((start / (1 - start)).log())

    def share(self) -> Tensor:
        return (torch.sigmoid(self.choice) * (_ZETA - _GAMMA) + _GAMMA).clamp(0, 1)

    def weight(self) -> Tensor:
        return self._on_grid(self._floor + self.share())

    @torch.no_grad()
    def hard(self) -> Tensor:
        return self._on_grid(self._floor + (self.share() >= 0.5))

    def _on_grid(self, steps: Tensor) -> Tensor:
        grid = self.layer.transform.grid
        inside = steps.clamp(grid.low - self._zero, grid.high - self._zero)
        return torch.where(self._kept, inside * self._scale, 0.0)
