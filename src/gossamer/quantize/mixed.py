"""MixedPrecision: more bits for the weights of layers that need them, fewer for the others, within a budget of bytes.

By measured sensitivity, as Dong et al. 2019 (HAWQ) have it by curvature: each layer's error with each choice of bits is
measured on the outputs; the choice that saves the most bytes for the least error comes first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Pass, note
from gossamer.task import Task, example_inputs

from .quantize import Quantize
from .run import quantized_layers
from .sensitivity import sensitivities
from .types import Int


@dataclass(frozen=True)
class Point:
    """A point of the trade-off: bytes of all weights (before entropy coding), and the sum of the layers' errors."""

    bytes: float
    error: float


@dataclass(frozen=True)
class MixedPrecision(Pass):
    """Quantize with the bits of each layer's weights chosen so that all of them fit in ``bytes``.

    ``bytes``: of the weights as integers, before entropy coding. ``choices``: what a layer may get. ``quantize``: all
    else; its own weights' type gives granularity and symmetry. ``batches``: of calibration inputs, to measure on.
    Raises RecipeError where even the fewest bits do not fit.
    """

    bytes: int
    choices: Sequence[int] = (8, 6, 4, 3, 2)
    quantize: Quantize = field(default_factory=Quantize)
    batches: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(sorted(self.choices, reverse=True)))
        if self.bytes < 1 or not self.choices or self.batches < 1:
            raise RecipeError(f"{self}: give bytes and batches of 1 or more, and at least one choice of bits")

    def check(self, graph: Graph, task: Task) -> None:
        """There are inputs to measure on."""
        example_inputs(task)
        self.quantize.check(graph, task)

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A quantized copy of ``graph``."""
        bits, points = self.chosen(graph, task)
        for name, wanted in bits.items():
            note(name, f"{wanted} bits")
        note(
            "MixedPrecision",
            "trade-off, bytes: error: " + ", ".join(f"{p.bytes:.0f}: {p.error:.2g}" for p in points),
        )
        overrides = {
            name: dataclasses.replace(_plain(self.quantize), bits=wanted) for name, wanted in bits.items()
        }
        overrides.update(self.quantize.overrides)  # type: ignore[arg-type]
        return dataclasses.replace(self.quantize, overrides=overrides)(graph, task)

    def chosen(self, graph: Graph, task: Task) -> tuple[dict[str, int], list[Point]]:
        """Bits by weight, and the trade-off from the most bits to the budget."""
        errors: dict[int, dict[str, float]] = {}
        sizes: dict[str, int] = {}
        for bits in self.choices:
            weights = dataclasses.replace(_plain(self.quantize), bits=bits)
            tried = dataclasses.replace(self.quantize, weights=weights, activations=None, max_drop=None)(
                graph, task
            )
            errors[bits] = sensitivities(tried, task, self.batches)
            sizes = {layer.name: math.prod(layer.layer.shape) for layer in quantized_layers(tried)}
        return self._descend(errors, sizes)

    def _descend(
        self, errors: dict[int, dict[str, float]], sizes: dict[str, int]
    ) -> tuple[dict[str, int], list[Point]]:
        """Take bits where that costs least per byte until all fits; then give back what there is room for."""
        chosen = _Chosen(errors, sizes, dict.fromkeys(sizes, self.choices[0]))
        fewer = dict(pairwise(self.choices))
        points = [chosen.point()]
        while chosen.bytes > self.bytes:
            steps = [(name, fewer[now]) for name, now in chosen.bits.items() if now in fewer]
            if not steps:
                raise RecipeError(
                    f"MixedPrecision(bytes={self.bytes}): with {self.choices[-1]} bits everywhere the weights need "
                    f"{chosen.bytes:.0f} bytes; allow fewer bits, or more bytes"
                )
            chosen.take(min(steps, key=chosen.price))
            points.append(chosen.point())
        more = {low: high for high, low in fewer.items()}
        while steps := [
            (name, more[now])
            for name, now in chosen.bits.items()
            if now in more and chosen.bytes + chosen.growth((name, more[now])) <= self.bytes
        ]:
            chosen.take(max(steps, key=chosen.price))
        alike = [_Chosen(errors, sizes, dict.fromkeys(sizes, bits)) for bits in self.choices]
        fitting = [each for each in alike if each.bytes <= self.bytes]
        best = min([chosen, *fitting], key=lambda each: each.point().error)
        return best.bits, [*points, best.point()]


_Step = tuple[str, int]


@dataclass
class _Chosen:
    """Bits by weight, and what they cost."""

    errors: dict[int, dict[str, float]]
    sizes: dict[str, int]
    bits: dict[str, int]

    @property
    def bytes(self) -> float:
        return sum(self.sizes[name] * bits / 8 for name, bits in self.bits.items())

    def point(self) -> Point:
        return Point(self.bytes, sum(self.errors[bits][name] for name, bits in self.bits.items()))

    def take(self, step: _Step) -> None:
        name, bits = step
        self.bits[name] = bits

    def growth(self, step: _Step) -> float:
        """Bytes that another choice for one weight adds."""
        name, bits = step
        return self.sizes[name] * (bits - self.bits[name]) / 8

    def price(self, step: _Step) -> float:
        """The error that the choice changes, per byte."""
        name, bits = step
        return (self.errors[self.bits[name]][name] - self.errors[bits][name]) / self.growth(step)


def _plain(quantize: Quantize) -> Int:
    weights = quantize.weights or Int(8)
    return Int(8, weights.granularity, weights.symmetric)
