"""MixedPrecision: more bits for the weights of layers that need them, within a budget of bytes, of time, or of both.

By measured sensitivity, as Dong et al. 2019 (HAWQ) have it by curvature: each layer's error with each choice of bits is
measured on the outputs; the choice that saves the most for the least error comes first.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Pass, note
from gossamer.task import Task, example_inputs

from .quantize import Quantize
from .run import quantized_layers
from .sensitivity import sensitivities
from .types import Int

Bits = Mapping[str, int]
Table = Mapping[int, Mapping[str, float]]  # by bits, then by weight


class Timer(abc.ABC):
    """What takes time: ``gossamer.measure.resources.LayerLatency()`` times the layers in the Engine."""

    @abc.abstractmethod
    def layers(self, graph: Graph, task: Task) -> tuple[dict[str, float], float]:
        """Microseconds of each quantized layer by its weight, and of everything else, in the network as it ships."""


@dataclass(frozen=True)
class Point:
    """A point of the trade-off: bytes of all weights (before entropy coding), microseconds, sum of the layers' errors.

    ``microseconds``: layers timed one by one, and the rest; NaN where nothing was timed. ``error``: of the outputs,
    squared and relative to their squares, each layer quantized alone, summed.
    """

    bytes: float
    microseconds: float
    error: float


@dataclass(frozen=True)
class TradeOff:
    """``bits`` of each weight, where on the trade-off that is (``chosen``), and the curve from the most bits down.

    ``gossamer.report.write_trade_off`` plots it.
    """

    bits: dict[str, int]
    chosen: Point
    points: tuple[Point, ...]


@dataclass(frozen=True)
class MixedPrecision(Pass):
    """Quantize with the bits of each layer's weights chosen so that the network keeps its budget.

    ``bytes``: of the weights as integers, before entropy coding. ``microseconds``: of one run, measured by ``timer``
    for each layer and choice of bits; the sum is an estimate, and what the network takes in the end is noted. Give one
    or both. ``choices``: what a layer may get. ``quantize``: all else; its own weights' type gives granularity and
    symmetry. ``batches``: of calibration inputs, to measure on. Raises RecipeError where no choice keeps the budget.
    """

    bytes: float | None = None
    choices: Sequence[int] = (8, 6, 4, 3, 2)
    quantize: Quantize = field(default_factory=Quantize)
    batches: int = 1
    microseconds: float | None = None
    timer: Timer | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(sorted(self.choices, reverse=True)))
        budgets = [each for each in (self.bytes, self.microseconds) if each is not None]
        if not budgets or min(budgets) <= 0 or not self.choices or self.batches < 1:
            raise RecipeError(
                f"{self}: give a budget above 0 of bytes or microseconds, batches of 1 or more, and a choice of bits"
            )
        if (self.microseconds is None) != (self.timer is None):
            raise RecipeError(
                "MixedPrecision(microseconds=..., timer=gossamer.measure.resources.LayerLatency()): give both, or "
                "neither"
            )

    def check(self, graph: Graph, task: Task) -> None:
        """There are inputs to measure on."""
        example_inputs(task)
        self.quantize.check(graph, task)

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A quantized copy of ``graph``."""
        found = self.trade_off(graph, task)
        for name, wanted in found.bits.items():
            note(name, f"{wanted} bits")
        note("MixedPrecision", f"{_words(found.chosen)}; from {_words(found.points[0])}")
        overrides: dict[str, Int | None] = {name: self._type(bits) for name, bits in found.bits.items()}
        overrides.update(self.quantize.overrides)
        mixed = dataclasses.replace(self.quantize, overrides=overrides)(graph, task)
        if self.timer is not None:
            times, rest = self.timer.layers(mixed, task)
            note("MixedPrecision", f"measured in the end: {sum(times.values()) + rest:.4g} microseconds")
        return mixed

    def trade_off(self, graph: Graph, task: Task) -> TradeOff:
        """Measure every layer with every choice of bits; choose."""
        errors: dict[int, dict[str, float]] = {}
        bytes_: dict[int, dict[str, float]] = {}
        times: dict[int, dict[str, float]] = {}
        rest = 0.0
        for bits in self.choices:
            alike = dataclasses.replace(self.quantize, weights=self._type(bits), max_drop=None)
            apart = dataclasses.replace(alike, activations=None)(graph, task)
            errors[bits] = sensitivities(apart, task, self.batches)
            bytes_[bits] = {
                layer.name: math.prod(layer.layer.shape) * bits / 8 for layer in quantized_layers(apart)
            }
            if self.timer is not None:
                times[bits], others = self.timer.layers(alike(graph, task), task)
                rest = max(rest, others)
        costs = [_Cost("bytes", bytes_, self.bytes)]
        if self.timer is not None:
            costs.append(_Cost("microseconds", times, self.microseconds, rest))
        return _Search(self.choices, errors, costs).result()

    def _type(self, bits: int) -> Int:
        like = self.quantize.weights or Int(8)
        return Int(bits, like.granularity, like.symmetric)


def _words(point: Point) -> str:
    time = "" if math.isnan(point.microseconds) else f"{point.microseconds:.4g} microseconds, "
    return f"{point.bytes:.0f} bytes, {time}an error of {point.error:.2g}"


@dataclass(frozen=True)
class _Cost:
    """What a choice of bits costs in one unit, and how much it may; ``fixed``: whatever the choice."""

    unit: str
    table: Table
    budget: float | None
    fixed: float = 0.0

    def of(self, bits: Bits) -> float:
        return self.fixed + sum(self.table[count].get(name, 0.0) for name, count in bits.items())

    def over(self, bits: Bits) -> float:
        """By what share of the budget it is exceeded."""
        return 0.0 if self.budget is None else max(0.0, self.of(bits) / self.budget - 1)


@dataclass(frozen=True)
class _Search:
    """The choice of bits with little error that costs no more than it may."""

    choices: Sequence[int]
    errors: Table
    costs: Sequence[_Cost]

    def result(self) -> TradeOff:
        most, fewest = (dict.fromkeys(self.errors[self.choices[0]], self.choices[i]) for i in (0, -1))
        path = self._descent(most)
        chosen = next((bits for bits in path if not self._over(bits)), None)
        if chosen is None:
            raise RecipeError(
                f"MixedPrecision: {self._complaint(fewest)}; allow fewer bits, or a larger budget"
            )
        alike = [dict.fromkeys(most, bits) for bits in self.choices]
        fitting = [self._given_back(chosen), *(bits for bits in alike if not self._over(bits))]
        best = min(fitting, key=self._error)
        return TradeOff(dict(best), self._point(best), tuple(self._point(bits) for bits in path))

    def _descent(self, most: Bits) -> list[Bits]:
        """From ``most`` down, one layer's bits at a time: what costs the least error for its savings."""
        path = [most]
        scales = [max(cost.of(most), 1e-30) for cost in self.costs]

        def saved(bits: Bits, step: tuple[str, int]) -> float:
            """The share of what has a budget (of what has not, once all is within)."""
            after = {**bits, step[0]: step[1]}
            return sum(
                (cost.of(bits) - cost.of(after)) / scale
                for cost, scale in zip(self.costs, scales, strict=True)
                if cost.budget is not None and (cost.over(bits) or not self._over(bits))
            )

        while steps := [
            (step, gain) for step in self._steps(path[-1]) if (gain := saved(path[-1], step)) > 1e-9
        ]:
            (name, count), _ = min(steps, key=lambda each: self._added(path[-1], each[0]) / each[1])
            path.append({**path[-1], name: count})
            if len(path) > len(most) * len(self.choices) + 1:  # two budgets may pull in two directions
                break
        return path

    def _given_back(self, bits: Bits) -> Bits:
        """``bits``, and more of them where there is room, what reduces the error most first."""
        while steps := [
            step
            for step in self._steps(bits)
            if self._added(bits, step) < 0 and not self._over({**bits, step[0]: step[1]})
        ]:
            name, count = min(steps, key=lambda step: self._added(bits, step))
            bits = {**bits, name: count}
        return bits

    def _steps(self, bits: Bits) -> list[tuple[str, int]]:
        return [(name, count) for name, now in bits.items() for count in self.choices if count != now]

    def _added(self, bits: Bits, step: tuple[str, int]) -> float:
        name, count = step
        return self.errors[count][name] - self.errors[bits[name]][name]

    def _error(self, bits: Bits) -> float:
        return sum(self.errors[count][name] for name, count in bits.items())

    def _over(self, bits: Bits) -> float:
        return sum(cost.over(bits) for cost in self.costs)

    def _point(self, bits: Bits) -> Point:
        found = {cost.unit: cost.of(bits) for cost in self.costs}
        return Point(found["bytes"], found.get("microseconds", math.nan), self._error(bits))

    def _complaint(self, fewest: Bits) -> str:
        over = [cost for cost in self.costs if cost.over(fewest)] or [
            c for c in self.costs if c.budget is not None
        ]
        needs = ", ".join(f"{cost.of(fewest):.4g} {cost.unit} of at most {cost.budget:.4g}" for cost in over)
        return (
            f"no choice keeps the budget: with {self.choices[-1]} bits everywhere the network needs {needs}"
        )
