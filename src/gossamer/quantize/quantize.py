"""Quantize: weights and activations as integers, placed on the graph by operator.

Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference;
Krishnamoorthi 2018, Quantizing deep convolutional networks for efficient inference: a whitepaper.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from gossamer.errors import RecipeError
from gossamer.graph import (
    Graph,
    Layer,
    Pass,
    add_transform,
    effective,
    layers,
    note,
    replace_transform,
    transforms,
)
from gossamer.graph.select import choose
from gossamer.task import Task, example_inputs

from .activations import Fixed, Tracked, Training, insert, insert_dynamic, insert_like, quantizers
from .attention import write_out_attention
from .calibrate import watch
from .corrected_fold import fold_corrected, fold_factor_of, follow
from .fold import Pair, pairs
from .guard import guarded
from .placement import Place, place
from .placement_integers import place_all
from .ranges import MinMax, Observer, Ranges
from .types import Granularity, Grid, Int, Int8, PerChannel, PerGroup, PerTensor
from .weights import FakeQuantize, FoldedQuantize, Rows


class Exemption(abc.ABC):
    """A rule for layers that stay in float."""

    @abc.abstractmethod
    def of(self, among: Sequence[Layer]) -> Sequence[Layer]:
        """Those of the layers, in order of execution, that stay in float."""


@dataclass(frozen=True)
class First(Exemption):
    """The first ``count`` layers."""

    count: int = 1

    def of(self, among: Sequence[Layer]) -> Sequence[Layer]:
        """See :class:`Exemption`."""
        return among[: self.count]


@dataclass(frozen=True)
class Last(Exemption):
    """The last ``count`` layers."""

    count: int = 1

    def of(self, among: Sequence[Layer]) -> Sequence[Layer]:
        """See :class:`Exemption`."""
        return among[max(0, len(among) - self.count) :]


@dataclass(frozen=True)
class Dynamic:
    """Activations of 8 bits whose range is found while the network runs: no calibration, slower inference."""


@dataclass(frozen=True)
class Quantize(Pass):
    """Quantize the weights of every layer and the activations between integer operators.

    ``weights``: their integers; None leaves them in float. ``activations``: an Int for static quantization, with
    ``ranges`` over at most ``batches`` batches of the task's calibration inputs (else its training or validation
    inputs); ``Dynamic()``; None for weights alone. ``weight_ranges``: of each row of weights that shares a scale.
    ``training``: what becomes of the ranges in a ``Finetune`` after this pass, which thereby is quantization-aware
    training. ``exempt``: rules for layers that stay float. ``overrides``: integers of its own for the weight of every
    layer that a pattern matches, None to leave the layer in float. ``max_drop``: the most that the task's metric may
    lose; the layers that harm most then stay in float, by measured sensitivity. ``attention``: products of two
    activations in integers too, queries with keys and weights with values; fused attention is written out for it, heads
    that share keys and values among them. ``integer_only``: everything in integers, in
    the file no floating point but at its border; what has no integer form is an UnsupportedError that names layer and
    operator. Normalizations, softmax and residual sums behind linear layers then are of 16 bits.

    What stays in float is noted, with the reason. Raises RecipeError for types that no kernel has and for patterns that
    match nothing, TaskError where there is nothing to calibrate on.
    """

    weights: Int | None = field(default_factory=Int8)
    activations: Int | Dynamic | None = field(default_factory=Int8)
    ranges: Ranges = MinMax()
    weight_ranges: Ranges = MinMax()
    training: Training = Tracked()
    exempt: Sequence[Exemption] = ()
    overrides: Mapping[str, Int | None] = field(default_factory=dict)
    batches: int | None = None
    max_drop: float | None = None
    attention: bool = False
    integer_only: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "exempt", tuple(self.exempt))
        if self.weights is None and self.activations is not None and not self.overrides:
            raise RecipeError(
                "Quantize(weights=None) with quantized activations: integer products need integer weights; "
                "give both, or activations=None"
            )
        if isinstance(self.activations, Int) and self.activations.granularity not in (None, PerTensor()):
            raise RecipeError(
                f"Quantize(activations={self.activations}): an integer product has one scale for all of its "
                "input; give Int8(PerTensor())"
            )
        if self.integer_only:
            self._require_integers()
        if self.batches is not None and self.batches < 1:
            raise RecipeError(f"Quantize(batches={self.batches}): give 1 or more, or None for all")

    def _require_integers(self) -> None:
        """Raise RecipeError for what leaves something in float."""
        floats = {
            "weights": self.weights is None,
            "activations": not isinstance(self.activations, Int),
            "exempt": bool(self.exempt),
            "overrides": None in self.overrides.values(),
            "max_drop": self.max_drop is not None,
        }
        for name in (name for name, is_float in floats.items() if is_float):
            raise RecipeError(
                f"Quantize(integer_only=True, {name}={getattr(self, name)}): this leaves layers in float32; "
                f"leave {name} out, or integer_only"
            )
        if isinstance(self.weights, Int) and isinstance(self.weights.granularity, PerGroup):
            raise RecipeError(
                "Quantize(integer_only=True): sums have one scale for each output; give Int8(PerChannel())"
            )

    def check(self, graph: Graph, task: Task) -> None:
        """Patterns match layers, there are inputs to calibrate on, and nothing stays in float that may not."""
        chosen = self._chosen(graph)
        if self.integer_only:
            written = copy.deepcopy(graph)
            write_out_attention(written, in_integers=True)
            self._places(written, chosen)
        if isinstance(self.activations, Int):
            example_inputs(task)
        if self.max_drop is not None:
            task.require("valid")
            task.require("metric")

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` with FakeQuantize on its weights and quantizers between its nodes."""
        chosen = self._chosen(graph)
        if not chosen:
            note("Quantize", "nothing to do: every layer stays in float")
            return copy.deepcopy(graph)
        if self.max_drop is None:
            return self._quantized(graph, task, chosen)

        def without(floats: Collection[str]) -> Graph:
            return self._quantized(graph, task, {w: t for w, t in chosen.items() if w not in floats})

        return guarded(graph, task, self.max_drop, without)

    def _quantized(self, graph: Graph, task: Task, chosen: Mapping[str, Int]) -> Graph:
        quantized = copy.deepcopy(graph)
        if next(quantizers(graph), None) is not None:
            raise RecipeError(
                "Quantize: the activations are quantized already; leave one of the two passes out"
            )
        fold_corrected(quantized)
        norms = {pair.layer.weight: pair for pair in pairs(quantized)}
        if self.integer_only or (self.attention and self.activations is not None):
            write_out_attention(quantized, self.integer_only)
        quantized.integer_only = self.integer_only
        found = [layer for layer in layers(quantized) if layer.weight in chosen]
        places = self._places(quantized, chosen)
        observers = self._calibrated(quantized, task, places)
        for layer in found:
            self._quantize_weight(quantized, layer, chosen[layer.weight], norms.get(layer.weight))
        self._insert(quantized, places, observers)
        quantized.recompile()
        return quantized

    def _places(self, graph: Graph, chosen: Mapping[str, Int]) -> list[Place]:
        found = [layer for layer in layers(graph) if layer.weight in chosen]
        if self.integer_only:
            return place_all(graph, found)
        return [] if self.activations is None else place(graph, found, self.attention)

    def _chosen(self, graph: Graph) -> dict[str, Int]:
        """The integers of each weight that gets some."""
        every = layers(graph)
        own = choose(every, self.weights, self.overrides, "Quantize", leave=())
        exempt = {layer.weight for rule in self.exempt for layer in rule.of(every)}
        for weight in sorted(exempt & own.values.keys()):
            note(weight, "stays in float: exempt by rule")
        return {w: t for w, t in own.values.items() if t is not None and (w not in exempt or w in own.own)}

    def _calibrated(self, graph: Graph, task: Task, places: Sequence[Place]) -> dict[Place, Observer]:
        """The range of each place that is like none but itself; those with more bits need no clipping."""
        if not isinstance(self.activations, Int):
            return {}
        observers = {
            each: (self.ranges if each.grid is None else MinMax()).observer()
            for each in places
            if each.like is each.value and each.bounds is None
        }
        if observers:
            count = watch(
                graph, task, self.batches, [(each.value, seen.add) for each, seen in observers.items()]
            )
            if not count:
                raise RecipeError(
                    "Quantize: the calibration inputs are empty; give the Task at least one batch"
                )
        return observers

    def _quantize_weight(self, graph: Graph, layer: Layer, type_: Int, norm: Pair | None) -> None:
        """``norm``: the batch norm behind. Where it shares scales between channels, what is quantized is its fold."""
        rows = Rows.of(type_.granularity or self._usual(layer), layer)
        present = transforms(graph, layer.weight)
        replaces = bool(present) and isinstance(present[-1], FakeQuantize)
        weight = effective(graph, layer.weight)
        factor = None if norm is None or rows == Rows(layer.output_axis) else fold_factor_of(graph, norm)
        if factor is not None:
            weight = weight * factor.view([-1 if i == layer.output_axis else 1 for i in range(weight.ndim)])
        fitted = FakeQuantize.fit(
            weight, Grid.of(type_, True), rows, self.weight_ranges, self.training.weights
        )
        if factor is not None:
            fitted = FoldedQuantize.around(fitted, factor, layer.output_axis or 0)
        if replaces:
            replace_transform(graph, layer.weight, len(present) - 1, fitted)
        else:
            add_transform(graph, layer.weight, fitted)
        if norm is not None and factor is not None:
            follow(graph, norm)

    def _usual(self, layer: Layer) -> Granularity:
        """Rows of an embedding with scales of their own have none in common, with which integers go on."""
        return PerTensor() if self.integer_only and layer.kind == "embedding" else PerChannel()

    def _insert(self, graph: Graph, places: Sequence[Place], observers: Mapping[Place, Observer]) -> None:
        if isinstance(self.activations, Dynamic):
            for each in places:
                insert_dynamic(graph, each.value, each.users)
            return
        if not places or self.activations is None:
            return
        usual = Grid.of(self.activations, False)
        own = [each for each in places if each.like is each.value]
        made = {}
        for each in own:
            grid = each.grid or usual
            bounds = each.bounds or observers[each].bounds(grid)
            training = self.training if each.bounds is None else Fixed()
            made[each.value] = insert(graph, each.value, each.users, grid, bounds, training)
        for each in places:
            if each.like is not each.value:
                insert_like(graph, each.value, each.users, made[each.like])
