"""Which layer lost what to quantization, and what to try: signal-to-noise by layer, alone and all together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.fx import Node
from torch.utils import _pytree as pytree

from gossamer.errors import RecipeError
from gossamer.graph import Graph, effective
from gossamer.numerics.histogram import Histogram
from gossamer.task import Task, modes_restored

from .activations import Quantizer, quantizers
from .run import QuantizedLayer, Run, quantized_layers, unquantized
from .sensitivity import example_batches, partial, sensitivities

_COARSE_WEIGHTS = 25  # decibels: some four bits
_HARMLESS = 45  # decibels: of the outputs, an error of half a percent
# Of an activation's 255 steps, so many between the quartiles of its values: fewer, and its range is called wide.
_FEW_LEVELS = 24


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer. All decibels are 10 log10(signal / error); 6 of them are one bit.

    ``weight_db``: of the weights. ``output_db``: of the layer's output in the whole quantized network.
    ``alone_db``: of the network's outputs where this layer alone is quantized. ``saturated``: the share of its
    input that is beyond the range. ``levels``: how many integers lie between the quartiles of its input, without
    zeros; None where that is float.
    """

    name: str
    kind: str
    bits: int
    weight_db: float
    output_db: float
    alone_db: float
    saturated: float
    levels: float | None

    @property
    def advice(self) -> str:
        """What to try first; empty where the layer does no harm worth the name."""
        if self.alone_db > _HARMLESS:
            return ""
        if self.weight_db < _COARSE_WEIGHTS:
            return "weights: PerChannel() scales, MSE() ranges, AdaRound() or more bits"
        if self.saturated > 0.01:
            return "input saturates: MinMax() ranges or a larger Percentile"
        if self.levels is not None and self.levels < _FEW_LEVELS:
            return "input has outliers: MSE() or Percentile() ranges, SmoothQuant(), EqualizeLayers()"
        return "leave it in float (overrides), or train it (Finetune)"


@dataclass(frozen=True)
class Diagnosis:
    """``layers`` in order of execution; ``histograms`` and ``bounds`` of every quantized activation, by value."""

    layers: tuple[LayerDiagnosis, ...]
    output_db: float
    histograms: Mapping[str, Histogram] = field(repr=False)
    bounds: Mapping[str, tuple[float, float]] = field(repr=False)

    def worst(self, count: int = 5) -> tuple[LayerDiagnosis, ...]:
        """The layers that harm the outputs most, the worst first."""
        return tuple(sorted(self.layers, key=lambda layer: layer.alone_db)[:count])

    def to_try(self, count: int = 5) -> list[str]:
        """Of the worst layers, those that do harm: their name and what to try."""
        return [f"{layer.name}: {layer.advice}" for layer in self.worst(count) if layer.advice]

    def __str__(self) -> str:
        lines = [
            f"outputs: {self.output_db:.1f} dB",
            f"{'layer':40} bits  weights  output   alone  saturated",
        ]
        for layer in self.layers:
            numbers = (
                f"{layer.weight_db:8.1f} {layer.output_db:7.1f} {layer.alone_db:7.1f} {layer.saturated:9.2%}"
            )
            lines.append(f"{layer.name:40} {layer.bits:4} {numbers}")
        lines += [f"try: {each}" for each in self.to_try(3)]
        return "\n".join(lines)


@torch.no_grad()
def diagnose(graph: Graph, task: Task, batches: int = 2) -> Diagnosis:
    """Compare a quantized ``graph`` with what it was, on ``batches`` calibration batches.

    Raises RecipeError for a graph without quantized layers.
    """
    every = quantized_layers(graph)
    if not every:
        raise RecipeError("diagnose: no layer of this graph is quantized; call it after Quantize")
    alone = sensitivities(graph, task, batches)
    noise = _Noise(graph)
    with modes_restored(graph):
        graph.eval()
        for inputs in example_batches(graph, task, batches):
            noise.add(inputs)
    found = tuple(_diagnosed(graph, layer, noise, alone[layer.name]) for layer in every)
    seen = {q.value.name: noise.histograms[q.node] for q in noise.quantizers}
    bounds = {q.value.name: _bounds(graph, q) for q in noise.quantizers}
    return Diagnosis(found, noise.decibels(graph.graph.output_node()), seen, bounds)


class _Noise:
    """Signal and error of every layer's output, the float and the quantized network running side by side."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.quantizers = list(quantizers(graph))
        self.histograms = {q.node: Histogram() for q in self.quantizers}
        self._values = {q.value: q.node for q in self.quantizers}
        output = graph.graph.output_node()
        self._watched = {layer.layer.node for layer in quantized_layers(graph)} | {output}
        self._signal: dict[Node, float] = dict.fromkeys(self._watched, 0.0)
        self._error: dict[Node, float] = dict.fromkeys(self._watched, 0.0)

    def add(self, inputs: list[Tensor]) -> None:
        plain, quantized = partial(self._graph, ()), Run(self._graph)
        for (node, wanted), (_, found) in zip(plain.values(inputs), quantized.values(inputs), strict=True):
            if node in self._watched:
                for a, b in zip(_tensors(wanted), _tensors(found), strict=True):
                    self._signal[node] += float(a.square().sum())
                    self._error[node] += float((a - b).square().sum())
            if node in self._values:
                self.histograms[self._values[node]].add(wanted)

    def decibels(self, node: Node) -> float:
        return decibels(self._signal[node], self._error[node])


def _tensors(value: object) -> list[Tensor]:
    leaves = pytree.tree_leaves(value)
    return [x for x in leaves if isinstance(x, Tensor) and x.is_floating_point()]


def decibels(signal: float, error: float) -> float:
    """10 log10(signal / error); infinite where there is no error."""
    return math.inf if error == 0 else 10 * math.log10(max(signal, 1e-30) / error)


def _diagnosed(graph: Graph, layer: QuantizedLayer, noise: _Noise, alone: float) -> LayerDiagnosis:
    weight = unquantized(graph, layer)
    error = effective(graph, layer.name) - weight
    read = layer.layer.node.all_input_nodes
    source = next((q for q in noise.quantizers if q.node in read), None)
    saturated, levels = (
        (0.0, None) if source is None else _of_input(graph, noise.histograms[source.node], source)
    )
    return LayerDiagnosis(
        name=layer.layer.name,
        kind=layer.layer.kind,
        bits=layer.transform.grid.bits,
        weight_db=decibels(float(weight.square().sum()), float(error.square().sum())),
        output_db=noise.decibels(layer.layer.node),
        alone_db=decibels(1.0, alone),
        saturated=saturated,
        levels=levels,
    )


def _of_input(graph: Graph, histogram: Histogram, source: Quantizer) -> tuple[float, float | None]:
    if not histogram.width:
        return 0.0, None
    lower, upper = _bounds(graph, source)
    centers, counts = histogram.centers, histogram.counts
    total = float(counts.sum()) + histogram.zeros
    outside = float(counts[(centers < lower - histogram.width) | (centers > upper + histogram.width)].sum())
    below = counts.cumsum(0) / counts.sum()
    quartiles = [float(centers[int(torch.searchsorted(below, share))]) for share in (0.25, 0.75)]
    return outside / total, (quartiles[1] - quartiles[0]) / max(upper - lower, 1e-30) * (
        source.high - source.low
    )


def _bounds(graph: Graph, quantizer: Quantizer) -> tuple[float, float]:
    """The least and the greatest number that the quantizer's integers stand for."""
    scale = float(effective(graph, quantizer.scale).abs())
    zero = int(effective(graph, quantizer.zero_point))
    return (quantizer.low - zero) * scale, (quantizer.high - zero) * scale
