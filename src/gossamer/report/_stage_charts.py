"""Quality against size and against latency: every stage of the recipe is a point."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gossamer.report import _units as units
from gossamer.report import _vega as vega
from gossamer.report._chart import Chart, Rows, number
from gossamer.report._layers import shorten
from gossamer.report._quality import Quality
from gossamer.report._stages import Point


@dataclass(frozen=True)
class _Cost:
    """What a chart has from left to right: less is better."""

    kind: str
    name: str
    unit: str
    of: Callable[[Point], float | None]
    best: Callable[[Point], bool]
    text: Callable[[float | None], str]


_COSTS = (
    _Cost(
        "size", "file size", "bytes", lambda p: p.measurement.file_bytes, lambda p: p.best_size, units.size
    ),
    _Cost("latency", "latency", "ms", lambda p: p.latency_ms, lambda p: p.best_latency, units.duration),
)


def stage_charts(points: Sequence[Point], quality: Quality) -> list[Chart]:
    """One chart for each cost that was measured, with the metric, at two points or more."""
    charts = (_chart(points, quality, cost) for cost in _COSTS)
    return [chart for chart in charts if chart is not None]


def _chart(points: Sequence[Point], quality: Quality, cost: _Cost) -> Chart | None:
    known = [
        point for point in points if _drawable(point.measurement.metric) and _drawable(cost.of(point), 0.0)
    ]
    if len(known) < 2:
        return None
    percent = 100 if quality.share else 1
    places = [(float(cost.of(p) or 0), percent * float(p.measurement.metric or 0)) for p in known]
    domains = _log_domain([x for x, _ in places]), _domain([y for _, y in places])
    named = _labelled(places, domains, [cost.best(point) for point in known])
    rows: Rows = [
        {
            "x": number(place[0]),
            "y": number(place[1]),
            "order": order,
            "best": cost.best(point),
            "label": str(point.number) if order in named else "",
            "stage": f"{point.number} {point.name}",
            "cost": cost.text(place[0]),
            "quality": quality.text(point.measurement.metric),
        }
        for order, (point, place) in enumerate(zip(known, places, strict=True))
    ]
    titles = f"{cost.name} (logarithmic)", f"{shorten(quality.name, 30)}{', %' if quality.share else ''}"
    better = "higher" if quality.maximize else "lower"
    return Chart(
        key=f"stages-{cost.kind}",
        caption=f"{quality.label} against {cost.name}",
        remark=f"{len(rows)} points, numbered as in the table below; left and {better} is better.",
        spoken="; ".join(f"{row['stage']}: {row['cost']}, {row['quality']}" for row in rows),
        kind=cost.kind,
        spec=vega.scatter(cost.unit, titles, domains),
        datasets={"points": rows},
    )


def _drawable(value: float | None, above: float = -math.inf) -> bool:
    return value is not None and above < value < math.inf


def _log_domain(values: Sequence[float]) -> list[float]:
    margin = max(1.15, (max(values) / min(values)) ** 0.06)
    return [float(f"{min(values) / margin:.6g}"), float(f"{max(values) * margin:.6g}")]


def _domain(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    margin = max(0.12 * (high - low), 1e-4 * abs(high)) or 1.0
    return [float(f"{low - margin:.6g}"), float(f"{high + margin:.6g}")]


def _labelled(
    places: list[tuple[float, float]], domains: tuple[list[float], list[float]], best: list[bool]
) -> set[int]:
    """Which points get their number: last, first and optimal ones before others, none upon another."""
    width, height, gap_x, gap_y = 250.0, 280.0, 18.0, 15.0  # pixels of the plot on a narrow screen
    (left, right), (low, high) = domains
    across, up = width / math.log(right / left), height / (high - low)
    pixels = [(across * math.log(x / left), up * (y - low)) for x, y in places]
    last = len(places) - 1
    ranking = sorted(range(len(places)), key=lambda i: (i != last, i != 0, not best[i], i))
    shown: set[int] = set()
    for i in ranking:
        x, y = pixels[i]
        if all(abs(x - pixels[j][0]) >= gap_x or abs(y - pixels[j][1]) >= gap_y for j in shown):
            shown.add(i)
    return shown
