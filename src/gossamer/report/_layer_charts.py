"""One bar a layer: its bytes in the file, the share of its weights that was kept, its arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

from gossamer.measure.records import LayerMeasurement, Measurement
from gossamer.report import _units as units
from gossamer.report._bars import BAR_LIMIT, Bar, Bars, omitted
from gossamer.report._chart import Chart
from gossamer.report._layers import REST, largest, split, unassigned

_VALUES, _INDICES, _REST = 0, 1, 2  # indices into vega.SERIES


def byte_chart(measurement: Measurement) -> Chart:
    """Bytes of every layer, values, indices and the rest stacked; last what belongs to no layer."""
    shown, others = largest(measurement.layers, lambda layer: layer.bytes, BAR_LIMIT)
    bars = [Bar(layer.name, _byte_parts(layer), units.size(layer.bytes)) for layer in shown]
    rest = unassigned(measurement)
    if rest:
        parts = ((_REST, "header, program", float(rest), units.size(rest)),)
        bars.append(Bar(REST, parts, units.size(rest)))
    remark = omitted(others, units.size(sum(layer.bytes for layer in others)))
    return Bars("layers-bytes", "Bytes of each layer in the file", "bytes").chart(bars, remark)


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
        bars.append(Bar(layer.name, ((_VALUES, "kept", share, words),), text))
    together = units.percent(sum(o.kept for o in others), sum(o.elements for o in others))
    return Bars("layers-percent", "Weights kept in each layer", "percent", 100.0).chart(
        bars, omitted(others, together)
    )


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
        bars.append(Bar(layer.name, parts, units.percent(executed, dense)))
    together = f"{units.count(sum(layer.macs_executed or 0 for layer in others))} executed"
    caption = "Multiply-accumulates executed in each layer, per example"
    return Bars("layers-count", caption, "count").chart(bars, omitted(others, together))
