"""One bar a layer: its bytes in the file, the share of its weights that was kept, its arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gossamer.measure.records import LayerMeasurement, Measurement
from gossamer.report import _units as units
from gossamer.report import _vega as vega
from gossamer.report._chart import Chart, Rows, number
from gossamer.report._layers import REST, distinct, largest, split, unassigned

BAR_LIMIT = 30  # bars of one chart; what the other layers have in sum is said beneath its title
_NAME_WIDTH = 46  # characters above a bar on a phone
_VALUES, _INDICES, _REST = 0, 1, 2  # indices into vega.SERIES


@dataclass(frozen=True)
class _Bar:
    """One bar: parts are (series, what it is, length, the length in words)."""

    name: str
    parts: tuple[tuple[int, str, float, str], ...]
    text: str


def byte_chart(measurement: Measurement) -> Chart:
    """Bytes of every layer, values, indices and the rest stacked; last what belongs to no layer."""
    shown, others = largest(measurement.layers, lambda layer: layer.bytes, BAR_LIMIT)
    bars = [_Bar(layer.name, _byte_parts(layer), units.size(layer.bytes)) for layer in shown]
    rest = unassigned(measurement)
    if rest:
        parts = ((_REST, "header, program", float(rest), units.size(rest)),)
        bars.append(_Bar(REST, parts, units.size(rest)))
    remark = _omitted(others, units.size(sum(layer.bytes for layer in others)))
    return _chart("bytes", "Bytes of each layer in the file", bars, remark)


def _byte_parts(layer: LayerMeasurement) -> tuple[tuple[int, str, float, str], ...]:
    parts = split(layer)
    named = (
        (_VALUES, "values" if parts.known else "values and everything else", parts.values),
        (_INDICES, "indices", parts.indices),
        (_REST, "codebook, tables, shape", parts.rest),
    )
    return tuple((series, what, size, units.size(round(size))) for series, what, size in named if size > 0)


def kept_chart(layers: Sequence[LayerMeasurement]) -> Chart:
    """The share of every layer's weights that was kept."""
    shown, others = largest(layers, lambda layer: layer.elements, BAR_LIMIT)
    bars = []
    for layer in shown:
        share = 100 * layer.kept / layer.elements if layer.elements else 0.0
        words = f"{units.count(layer.kept)} of {units.count(layer.elements)}"
        text = units.percent(layer.kept, layer.elements)
        bars.append(_Bar(layer.name, ((_VALUES, "kept", share, words),), text))
    together = units.percent(sum(o.kept for o in others), sum(o.elements for o in others))
    return _chart("percent", "Weights kept in each layer", bars, _omitted(others, together), 100.0)


def mac_chart(layers: Sequence[LayerMeasurement]) -> Chart | None:
    """Multiply-accumulates of every layer that has any: those that met a kept weight, and the others."""
    known = [layer for layer in layers if layer.macs and layer.macs_executed is not None]
    if not known:
        return None
    shown, others = largest(known, lambda layer: layer.macs or 0, BAR_LIMIT)
    bars = []
    for layer in shown:
        executed, dense = layer.macs_executed or 0, layer.macs or 0
        skipped = max(0, dense - executed)
        parts = (
            (_VALUES, "executed", float(executed), units.count(executed)),
            (_REST, "skipped", float(skipped), units.count(skipped)),
        )
        bars.append(_Bar(layer.name, parts, units.percent(executed, dense)))
    together = f"{units.count(sum(layer.macs_executed or 0 for layer in others))} executed"
    caption = "Multiply-accumulates executed in each layer, per example"
    return _chart("count", caption, bars, _omitted(others, together))


def _omitted(others: Sequence[LayerMeasurement], together: str) -> str:
    return f"The {BAR_LIMIT} largest; the {len(others)} others together: {together}." if others else ""


def _chart(unit: str, caption: str, bars: Sequence[_Bar], remark: str, maximum: float = 0.0) -> Chart:
    pieces: Rows = []
    rows: Rows = []
    names = [*distinct([bar.name for bar in bars if bar.name != REST], _NAME_WIDTH), REST]
    for row, (name, bar) in enumerate(zip(names, bars, strict=False)):
        at = 0.0
        for series, what, length, words in bar.parts:
            start, at = at, at + length
            piece = {"row": row, "start": number(start), "end": number(at), "series": series}
            pieces.append(piece | {"layer": bar.name, "part": what, "amount": words})
        rows.append({"row": row, "end": number(at), "name": name, "text": bar.text})
    longest = maximum or max((row["end"] or 0.0 for row in rows), default=0.0) or 1.0
    more = "; the table has every layer" if len(bars) > 8 else ""
    return Chart(
        key=f"layers-{unit}",
        caption=caption,
        remark=remark,
        spoken="; ".join(f"{bar.name}: {bar.text}" for bar in bars[:8]) + more,
        kind=unit,
        spec=vega.bars(unit, len(bars), longest),
        datasets={"bars": pieces, "rows": rows},
    )
