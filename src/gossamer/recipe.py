"""A recipe is a list of passes, nothing else; Repeat is a pass that runs others, stronger each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gossamer.errors import RecipeError
from gossamer.graph import Graph, Pass
from gossamer.task import Task
from gossamer.train.ramps import Cubic, Even, Full, Geometric, Halving, Ramp

__all__ = ["Cubic", "Even", "Full", "Geometric", "Halving", "Ramp", "Repeat", "unroll"]


@dataclass(frozen=True)
class Repeat(Pass):
    """Run ``passes`` in order, ``times`` times, each round at the strength that ``ramp`` gives for it.

    ``Repeat(6, [Prune(0.92), Finetune(epochs=2)])`` prunes a little, trains, prunes more, and ends at 0.92.
    """

    times: int
    passes: Sequence[Pass]
    ramp: Ramp = field(default_factory=Cubic)

    def __post_init__(self) -> None:
        if self.times < 1:
            raise RecipeError(f"Repeat: times is {self.times}; give 1 or more")
        object.__setattr__(self, "passes", tuple(self.passes))
        if not self.passes:
            raise RecipeError("Repeat: passes is empty; give at least one pass")
        _check_passes(self.passes, "Repeat")

    def at(self, strength: float) -> Repeat:
        """The same repetition of weaker passes."""
        return Repeat(self.times, [each.at(strength) for each in self.passes], self.ramp)

    def unrolled(self) -> Iterator[Pass]:
        """The passes that run, in order, none of them a Repeat."""
        for round_ in range(1, self.times + 1):
            strength = self.ramp.strength(round_ / self.times)
            yield from unroll([each.at(strength) for each in self.passes])

    def check(self, graph: Graph, task: Task) -> None:
        """Every pass inside can work."""
        for each in self.passes:
            each.check(graph, task)

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """The graph after the last round."""
        for each in self.unrolled():
            graph = each(graph, task)
        return graph


def unroll(recipe: Sequence[Pass]) -> Iterator[Pass]:
    """The passes of a recipe as they run, every Repeat written out."""
    _check_passes(recipe, "a recipe")
    for each in recipe:
        if isinstance(each, Repeat):
            yield from each.unrolled()
        else:
            yield each


def _check_passes(passes: Sequence[Pass], who: str) -> None:
    for place, each in enumerate(passes, start=1):
        if not isinstance(each, Pass):
            raise RecipeError(
                f"{who} is a list of passes; number {place} is {each!r}, of type {type(each).__name__}"
            )
