"""Which charts the page has, and the data of each: numbers rounded to six figures, texts ready to read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gossamer.measure.records import Comparison, LayerMeasurement
from gossamer.report import _units as units
from gossamer.report import _vega as vega
from gossamer.report._layers import REST, distinct, largest, shorten, split, unassigned
from gossamer.report._quality import Quality
from gossamer.report._stages import Point

BAR_LIMIT = 30  # bars of one chart; what the other layers have in sum is said beneath its title
_NAME_WIDTH = 46  # characters above a bar on a phone
_HISTOGRAMS_OPEN = 12  # the others are drawn when their fold is opened

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Chart:
    """One figure: its element's id, title, a remark beneath it, what it shows for those who do not see it,

    its specification's key and its data.
    """

    key: str
    caption: str
    remark: str
    spoken: str
    spec: str
    datasets: dict[str, Rows]


@dataclass
class Charts:
    """The charts of one page, and their specifications, shared where several charts look the same."""

    specs: dict[str, vega.Spec] = field(default_factory=dict)
    stages: list[Chart] = field(default_factory=list)
    size: Chart | None = None
    kept: Chart | None = None
    macs: Chart | None = None
    histograms: list[Chart] = field(default_factory=list)
    more_histograms: list[Chart] = field(default_factory=list)

    def all(self) -> list[Chart]:
        """Every chart, in the order of the page."""
        single = [chart for chart in (self.size, self.kept, self.macs) if chart is not None]
        return [*self.stages, *single, *self.histograms, *self.more_histograms]


@dataclass(frozen=True)
class _Bar:
    """One bar: parts are (series, what it is, length, the length in words)."""

    name: str
    parts: tuple[tuple[int, str, float, str], ...]
    text: str


def charts(comparison: Comparison, points: Sequence[Point]) -> Charts:
    """All charts that the records have data for."""
    page = Charts()
    quality = Quality.of(comparison)
    sizes: list[float | None] = [float(point.measurement.file_bytes) for point in points]
    _add_scatter(page, "size", points, sizes, quality)
    _add_scatter(page, "latency", points, [point.latency_ms for point in points], quality)
    layers = comparison.final.layers
    if layers:
        page.size = _byte_chart(page, comparison)
        page.kept = _kept_chart(page, layers)
        page.macs = _mac_chart(page, layers)
    _add_histograms(page, layers)
    return page


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _add_scatter(
    page: Charts, kind: str, points: Sequence[Point], costs: Sequence[float | None], quality: Quality
) -> None:
    known = [
        (point, cost, metric)
        for point, cost in zip(points, costs, strict=True)
        if (metric := point.measurement.metric) is not None
        if math.isfinite(metric) and cost is not None and 0 < cost < math.inf
    ]
    if len(known) < 2:
        return
    xs = [cost for _, cost, _ in known]
    ys = [100 * metric if quality.share else metric for *_, metric in known]
    best = [point.best_size if kind == "size" else point.best_latency for point, *_ in known]
    domains = _log_domain(xs), _domain(ys)
    named = _labelled(list(zip(xs, ys, strict=True)), domains, best)
    text, unit, title = (
        (units.size, "bytes", "file size (logarithmic)")
        if kind == "size"
        else (units.duration, "ms", "latency (logarithmic)")
    )
    rows: Rows = [
        {
            "x": _number(xs[i]),
            "y": _number(ys[i]),
            "order": i,
            "best": best[i],
            "label": str(point.number) if named[i] else "",
            "stage": f"{point.number} {point.name}",
            "cost": text(xs[i]),
            "quality": quality.text(point.measurement.metric),
        }
        for i, (point, *_) in enumerate(known)
    ]
    y_title = f"{shorten(quality.name, 30)}{', %' if quality.share else ''}"
    page.specs[kind] = vega.scatter(unit, (title, y_title), domains)
    better = "higher" if quality.maximize else "lower"
    page.stages.append(
        Chart(
            f"stages-{kind}",
            f"{quality.label} against {'file size' if kind == 'size' else 'latency in gossamer'}",
            f"{len(rows)} points, numbered as in the table below; left and {better} is better.",
            "; ".join(f"{row['stage']}: {row['cost']}, {row['quality']}" for row in rows),
            kind,
            {"points": rows},
        )
    )


def _log_domain(values: Sequence[float]) -> list[float]:
    margin = max(1.15, (max(values) / min(values)) ** 0.06)
    return [float(f"{min(values) / margin:.6g}"), float(f"{max(values) * margin:.6g}")]


def _domain(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    margin = max(0.12 * (high - low), 1e-4 * abs(high)) or 1.0
    return [float(f"{low - margin:.6g}"), float(f"{high + margin:.6g}")]


def _labelled(
    places: list[tuple[float, float]], domains: tuple[list[float], list[float]], best: list[bool]
) -> list[bool]:
    """Which points get their number: last, first and optimal ones before others, none upon another."""
    width, height, gap_x, gap_y = 250.0, 280.0, 18.0, 15.0  # pixels of the plot on a narrow screen
    (left, right), (low, high) = domains
    across, up = width / math.log(right / left), height / (high - low)
    pixels = [(across * math.log(x / left), up * (y - low)) for x, y in places]
    last = len(places) - 1
    ranking = sorted(range(len(places)), key=lambda i: (i != last, i != 0, not best[i], i))
    shown: list[int] = []
    for i in ranking:
        x, y = pixels[i]
        if all(abs(x - pixels[j][0]) >= gap_x or abs(y - pixels[j][1]) >= gap_y for j in shown):
            shown.append(i)
    return [i in shown for i in range(len(places))]


def _byte_chart(page: Charts, comparison: Comparison) -> Chart:
    shown, others = largest(comparison.final.layers, lambda layer: layer.bytes, BAR_LIMIT)
    bars = [_Bar(layer.name, _byte_parts(layer), units.size(layer.bytes)) for layer in shown]
    rest = unassigned(comparison.final)
    if rest:
        bars.append(_Bar(REST, ((2, "header, program", float(rest), units.size(rest)),), units.size(rest)))
    omitted = _omitted(others, units.size(sum(layer.bytes for layer in others)))
    return _bar_chart(page, "bytes", bars, "Bytes of each layer in the file", omitted)


def _byte_parts(layer: LayerMeasurement) -> tuple[tuple[int, str, float, str], ...]:
    parts = split(layer)
    named = (
        (0, "values" if parts.known else "values and everything else", parts.values),
        (1, "indices", parts.indices),
        (2, "codebook, tables, shape", parts.rest),
    )
    return tuple((series, what, size, units.size(round(size))) for series, what, size in named if size > 0)


def _kept_chart(page: Charts, layers: Sequence[LayerMeasurement]) -> Chart:
    shown, others = largest(layers, lambda layer: layer.elements, BAR_LIMIT)
    bars = []
    for layer in shown:
        share = 100 * layer.kept / layer.elements if layer.elements else 0.0
        words = f"{units.count(layer.kept)} of {units.count(layer.elements)}"
        bars.append(_Bar(layer.name, ((0, "kept", share, words),), units.percent(layer.kept, layer.elements)))
    together = units.percent(sum(o.kept for o in others), sum(o.elements for o in others))
    return _bar_chart(page, "percent", bars, "Weights kept in each layer", _omitted(others, together), 100.0)


def _mac_chart(page: Charts, layers: Sequence[LayerMeasurement]) -> Chart | None:
    known = [layer for layer in layers if layer.macs and layer.macs_executed is not None]
    if not known:
        return None
    shown, others = largest(known, lambda layer: layer.macs or 0, BAR_LIMIT)
    bars = []
    for layer in shown:
        executed, dense = layer.macs_executed or 0, layer.macs or 0
        skipped = max(0, dense - executed)
        parts = (
            (0, "executed", float(executed), units.count(executed)),
            (2, "skipped", float(skipped), units.count(skipped)),
        )
        bars.append(_Bar(layer.name, parts, units.percent(executed, dense)))
    together = units.count(sum(layer.macs_executed or 0 for layer in others))
    caption = "Multiply-accumulates executed in each layer, per example"
    return _bar_chart(page, "count", bars, caption, _omitted(others, together))


def _omitted(others: Sequence[LayerMeasurement], together: str) -> str:
    return f"The {BAR_LIMIT} largest; the {len(others)} others together: {together}." if others else ""


def _bar_chart(
    page: Charts, unit: str, bars: Sequence[_Bar], caption: str, omitted: str, maximum: float = 0.0
) -> Chart:
    pieces: Rows = []
    rows: Rows = []
    names = [*distinct([bar.name for bar in bars if bar.name != REST], _NAME_WIDTH), REST]
    for row, (name, bar) in enumerate(zip(names, bars, strict=False)):
        at = 0.0
        for series, what, length, words in bar.parts:
            start, at = at, at + length
            piece = {"row": row, "start": _number(start), "end": _number(at), "series": series}
            pieces.append(piece | {"layer": bar.name, "part": what, "amount": words})
        rows.append({"row": row, "end": _number(at), "name": name, "text": bar.text})
    longest = maximum or max((row["end"] or 0.0 for row in rows), default=0.0) or 1.0
    page.specs[unit] = vega.bars(unit, len(bars), longest)
    spoken = "; ".join(f"{bar.name}: {bar.text}" for bar in bars[:8])
    more = "; the table has every layer" if len(bars) > 8 else ""
    return Chart(f"layers-{unit}", caption, omitted, f"{spoken}{more}.", unit, {"bars": pieces, "rows": rows})


def _add_histograms(page: Charts, layers: Sequence[LayerMeasurement]) -> None:
    usable = [layer for layer in layers if _has_histogram(layer)]
    if not usable:
        return
    first, more = largest(usable, lambda layer: layer.elements, _HISTOGRAMS_OPEN)
    numbers = {id(layer): number for number, layer in enumerate(usable)}
    page.histograms = [_histogram(numbers[id(layer)], layer) for layer in first]
    page.more_histograms = [_histogram(numbers[id(layer)], layer) for layer in more]
    specs = {"clustered": vega.histogram(clustered=True), "histogram": vega.histogram(clustered=False)}
    page.specs |= {chart.spec: specs[chart.spec] for chart in (*page.histograms, *page.more_histograms)}


def _has_histogram(layer: LayerMeasurement) -> bool:
    edges, counts = layer.histogram or ((), ())
    return len(edges) == len(counts) + 1 and bool(counts) and all(math.isfinite(edge) for edge in edges)


def _histogram(number: int, layer: LayerMeasurement) -> Chart:
    edges, counts = layer.histogram or ((), ())
    rounded = [_number(edge) for edge in edges]
    values = layer.centroids or ()
    pairs = zip(values, layer.centroid_counts or [None] * len(values), strict=False)
    marked = [(_number(value), uses) for value, uses in pairs if math.isfinite(value)]
    datasets: dict[str, Rows] = {"bins": [{"low": rounded[:-1], "high": rounded[1:], "count": list(counts)}]}
    if marked:
        datasets["centroids"] = [{"value": [v for v, _ in marked], "weights": [n for _, n in marked]}]
    clusters = f", {len(values)} centroids" if values else ""
    description = f"{units.count(layer.kept)} weights kept, from {edges[0]:.3g} to {edges[-1]:.3g}{clusters}"
    return Chart(
        f"histogram-{number}",
        layer.name,
        description,
        description,
        "clustered" if marked else "histogram",
        datasets,
    )
