"""Where the time went: one bar a step of the engine's plan, in the original and in the compressed file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gossamer.measure.records import Comparison, Step
from gossamer.report import _units as units
from gossamer.report._bars import BAR_LIMIT, Bar, Bars, omitted
from gossamer.report._chart import Chart
from gossamer.report._layers import largest

_PLAIN, _SLOW = 0, 1  # indices into vega.SERIES
_ROOM = 1.25  # for the text at the end of the longest bar: so both charts have one width and one scale


@dataclass(frozen=True)
class Profile:
    """The steps of one network, what they take together in milliseconds, and their chart."""

    network: str  # "original" or "compressed file"
    steps: tuple[Step, ...]
    whole_ms: float
    chart: Chart

    @property
    def notes(self) -> bool:
        """Whether any step took a slower path than it might have."""
        return any(step.note for step in self.steps)


def profiles(comparison: Comparison) -> list[Profile]:
    """Original and compressed file, as far as they were measured; their charts share one axis."""
    networks = {"original": comparison.original.steps, "compressed file": comparison.final.steps}
    timed = {name: steps for name, measured in networks.items() if (steps := _timed(measured))}
    longest = max((_ms(step) for steps in timed.values() for step in steps), default=0.0)
    return [
        Profile(name, steps, sum(map(_ms, steps)), _chart(name, steps, longest))
        for name, steps in timed.items()
    ]


def _timed(steps: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(step for step in steps if math.isfinite(_ms(step)) and _ms(step) >= 0)


def _ms(step: Step) -> float:
    return math.nan if step.microseconds is None else step.microseconds / 1e3


def _chart(network: str, steps: Sequence[Step], longest: float) -> Chart:
    shown, others = largest(steps, _ms, BAR_LIMIT)
    bars = []
    for step in shown:
        text = units.duration(_ms(step))
        part = (_SLOW if step.note else _PLAIN, f"{step.operator}, {step.kernel}", _ms(step), text)
        bars.append(Bar(step.name or step.operator, (part,), text))
    caption = f"Time of each step: {network}, {units.duration(sum(map(_ms, steps)))}"
    key = f"steps-{network.split()[0]}"
    return Bars(key, caption, "ms", _ROOM * longest).chart(
        bars, omitted(others, units.duration(sum(map(_ms, others))))
    )
