"""The recipe as a list of points: the original, the network after every pass, the file that ships."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gossamer.measure.pareto import pareto
from gossamer.measure.records import Comparison, Measurement
from gossamer.report._headline import OURS


@dataclass(frozen=True)
class Point:
    """One row of the stage table. ``best_size``: Pareto-optimal in metric and bytes; so ``best_latency``."""

    number: int
    name: str
    measurement: Measurement
    latency_ms: float | None
    seconds: float | None
    best_size: bool = False
    best_latency: bool = False


def points(comparison: Comparison) -> list[Point]:
    """Original, stages, final; the last stage and the final file are one point when they are one file."""
    rows: list[tuple[str, Measurement, float | None]] = [("original", comparison.original, None)]
    rows += [(stage.name, stage.measurement, stage.seconds) for stage in comparison.stages]
    final = comparison.final
    if comparison.stages and _same(rows[-1][1], final):
        rows[-1] = (rows[-1][0], final, rows[-1][2])
    else:
        rows.append(("file that ships", final, None))
    setting = _setting(comparison)
    latencies = [_latency(measurement, setting) for _, measurement, _ in rows]
    by_size = _front(rows, comparison.maximize, lambda index: float(rows[index][1].file_bytes))
    by_latency = _front(rows, comparison.maximize, lambda index: latencies[index])
    return [
        Point(i, name, measurement, latencies[i], seconds, i in by_size, i in by_latency)
        for i, (name, measurement, seconds) in enumerate(rows)
    ]


def _same(stage: Measurement, final: Measurement) -> bool:
    return (stage.file_bytes, stage.parameters_kept) == (final.file_bytes, final.parameters_kept)


def _setting(comparison: Comparison) -> tuple[int, int] | None:
    ours = [(o.batch, o.threads) for o in comparison.final.latencies if o.runtime == OURS]
    return min(ours, default=None)


def _latency(measurement: Measurement, setting: tuple[int, int] | None) -> float | None:
    ours = (o for o in measurement.latencies if o.runtime == OURS and (o.batch, o.threads) == setting)
    return next((latency.median_ms for latency in ours), None)


def _front(
    rows: list[tuple[str, Measurement, float | None]], maximize: bool, cost: Callable[[int], float | None]
) -> set[int]:
    """Indices of the Pareto-optimal rows in (metric, cost), among those where both were measured."""
    known = [
        (index, metric, price)
        for index, (_, measurement, _) in enumerate(rows)
        if (metric := measurement.metric) is not None and math.isfinite(metric)
        if (price := cost(index)) is not None and math.isfinite(price)
    ]
    if not known:
        return set()
    best = pareto([[metric, price] for _, metric, price in known], maximize=[maximize, False])
    return {index for (index, _, _), optimal in zip(known, best, strict=True) if optimal}
