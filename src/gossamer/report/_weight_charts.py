"""One histogram a layer: which values the kept weights have, and where the centroids lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gossamer.measure.records import LayerMeasurement
from gossamer.report import _units as units
from gossamer.report import _vega as vega
from gossamer.report._chart import Chart, Rows, number
from gossamer.report._layers import largest

_OPEN = 12  # histograms that are seen at once; the others are drawn when their fold is opened


def weight_charts(layers: Sequence[LayerMeasurement]) -> tuple[list[Chart], list[Chart]]:
    """The histograms of the largest layers, and those of the others, both in network order."""
    usable = [layer for layer in layers if _has_histogram(layer)]
    numbers = {id(layer): place for place, layer in enumerate(usable)}
    shown, others = largest(usable, lambda layer: layer.elements, _OPEN)
    first, more = ([_chart(numbers[id(layer)], layer) for layer in part] for part in (shown, others))
    return first, more


def _has_histogram(layer: LayerMeasurement) -> bool:
    edges, counts = layer.histogram or ((), ())
    return len(edges) == len(counts) + 1 and bool(counts) and all(math.isfinite(edge) for edge in edges)


def _chart(place: int, layer: LayerMeasurement) -> Chart:
    edges, counts = layer.histogram or ((), ())
    rounded = [number(edge) for edge in edges]
    datasets: dict[str, Rows] = {"bins": [{"low": rounded[:-1], "high": rounded[1:], "count": list(counts)}]}
    values = layer.centroids or ()
    pairs = zip(values, layer.centroid_counts or [None] * len(values), strict=False)
    marked = [(number(value), uses) for value, uses in pairs if math.isfinite(value)]
    if marked:
        datasets["centroids"] = [{"value": [v for v, _ in marked], "weights": [n for _, n in marked]}]
    clusters = f", {len(values)} centroid{'' if len(values) == 1 else 's'}" if values else ""
    remark = f"{units.count(layer.kept)} weights kept, from {edges[0]:.3g} to {edges[-1]:.3g}{clusters}"
    return Chart(
        key=f"histogram-{place}",
        caption=layer.name,
        remark=remark,
        spoken=remark,
        kind="clustered" if marked else "histogram",
        spec=vega.histogram(clustered=bool(marked)),
        datasets=datasets,
    )
