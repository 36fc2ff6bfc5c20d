"""Vega-Lite specifications of the charts. Colours are CSS variables: light, dark and print are the style's.

Names of layers and stages are untrusted: they are data, never part of an expression.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

Spec: TypeAlias = dict[str, Any]

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
CONFIG: Spec = {
    "background": "transparent",
    "aria": False,  # the figure around a chart carries its text; every figure stands in a table too
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domainColor": "var(--line-strong)",
        "tickColor": "var(--line-strong)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 400,
    },
    "text": {"color": "var(--ink)", "fontSize": 12},
}


def _labels(*steps: tuple[float, str]) -> str:
    """A Vega expression that writes an axis' value in the unit that fits; steps from large to small."""
    choices = [
        f"abs(datum.value) >= {at} ? format(datum.value / {at}, '~r') + ' {unit}'" for at, unit in steps
    ]
    return " : ".join([*choices, f"format(datum.value / {steps[-1][0]}, '~r') + ' {steps[-1][1]}'"])


# Decimal units, as everywhere on the page.
LABELS = {
    "bytes": _labels((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB"), (1, "B")),
    "ms": _labels((1e3, "s"), (1, "ms"), (1e-3, "µs"), (1e-6, "ns")),
    "percent": _labels((1, "%")),
    "count": "format(datum.value, '~s')",
}
SERIES = ("var(--series-1)", "var(--series-2)", "var(--series-3)")


def scatter(unit: str, titles: tuple[str, str], domains: tuple[list[float], list[float]]) -> Spec:
    """Quality over cost (logarithmic), the recipe's points joined in order; Pareto-optimal ones are filled.

    Data "points": x, y, order, label, best (bool), and the texts of the tooltip: stage, cost, quality.
    """
    ticks = _log_ticks(*domains[0])
    marks: Spec = {"labelExpr": LABELS[unit], "labelOverlap": "greedy", "labelSeparation": 6}
    if ticks:
        marks["values"] = ticks
    x_scale = {"type": "log", "domain": domains[0], "nice": False}
    y_scale = {"domain": domains[1], "zero": False, "nice": False}
    encoding = {
        "x": _quantity("x", axis=marks, scale=x_scale, title=titles[0]),
        "y": _quantity("y", axis={"tickCount": 6}, scale=y_scale, title=titles[1]),
    }
    path = {
        "mark": {"type": "line", "color": "var(--line-strong)", "strokeWidth": 1.5},
        "encoding": {"order": _quantity("order")},
    }
    filled = {"condition": {"test": "datum.best", "value": SERIES[0]}, "value": "var(--surface)"}
    dots = {
        "mark": {"type": "point", "size": 110, "strokeWidth": 2, "stroke": SERIES[0], "opacity": 1},
        "encoding": {
            "fill": filled,
            "fillOpacity": {"value": 1},
            "tooltip": _tooltip("stage", "cost", "quality"),
        },
    }
    numbers = {
        "mark": {"type": "text", "dy": -13, "fontWeight": 600},
        "encoding": {"text": _text("label")},
    }
    return _chart("points", [path, dots, numbers], height=320, encoding=encoding)


def bars(unit: str, rows: int, maximum: float) -> Spec:
    """One horizontal bar a layer, of parts that were stacked beforehand; its name above, a text at its end.

    Names stand above their bars, not beside them: so they stay whole on a phone.
    Data "bars": row, start, end, series (index into SERIES), layer, part, amount.
    Data "rows": row, end, name, text.
    """
    y_scale = {"domain": list(range(rows)), "paddingInner": 0, "paddingOuter": 0}
    x_scale = {"domain": [0, maximum], "nice": False}
    series = {"domain": list(range(len(SERIES))), "range": list(SERIES)}
    parts = {
        "mark": {"type": "bar", "height": 12, "yOffset": 8},
        "encoding": {
            "x": _quantity("start", axis={"labelExpr": LABELS[unit], "tickCount": 4}, scale=x_scale),
            "x2": {"field": "end"},
            "color": {"field": "series", "type": "ordinal", "scale": series, "legend": None},
            "tooltip": _tooltip("layer", "part", "amount"),
        },
    }
    names = {
        "data": {"name": "rows"},
        "mark": {"type": "text", "align": "left", "yOffset": -7, "limit": {"expr": "width"}},
        "encoding": {"x": {"value": 0}, "text": _text("name")},
    }
    ends = {
        "data": {"name": "rows"},
        "mark": {"type": "text", "align": "left", "dx": 5, "yOffset": 8, "color": "var(--muted)"},
        "encoding": {"x": _quantity("end"), "text": _text("text")},
    }
    y = {"field": "row", "type": "ordinal", "axis": None, "scale": y_scale}
    return _chart("bars", [parts, names, ends], height=36 * rows, encoding={"y": y})


def histogram(clustered: bool) -> Spec:
    """Counts of kept weights over their value; where they are clustered, a tick below the axis a centroid.

    Data "bins": one row with the lists low, high, count.
    Data "centroids": one row with the lists value, weights.
    """
    x_axis = {"tickCount": 5, "offset": 10, "format": "~g", "grid": False, "labelOverlap": "greedy"}
    bins = {
        "transform": [{"flatten": ["low", "high", "count"]}],
        "mark": {"type": "bar", "color": SERIES[0], "binSpacing": 0},
        "encoding": {
            "x": _quantity("low", axis=x_axis, scale={"zero": False, "nice": False}),
            "x2": {"field": "high"},
            "y": _quantity("count", axis={"tickCount": 3, "domain": False, "ticks": False}),
            "y2": {"datum": 0},
            "tooltip": [_figure("low", "from"), _figure("high", "to"), _figure("count", "weights", ",")],
        },
    }
    centroids = {
        "data": {"name": "centroids"},
        "transform": [{"flatten": ["value", "weights"]}],
        "mark": {"type": "rule", "color": SERIES[1], "strokeWidth": 1.5},
        "encoding": {
            "x": _quantity("value"),
            "y": {"value": {"expr": "height + 1"}},
            "y2": {"value": {"expr": "height + 9"}},
            "tooltip": [_figure("value", "centroid"), _figure("weights", "weights", ",")],
        },
    }
    return _chart("bins", [bins, centroids] if clustered else [bins], height=130, encoding={})


def _chart(data: str, layers: list[Spec], *, height: int, encoding: Spec) -> Spec:
    return {
        "data": {"name": data},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 4, "top": 5, "right": 16, "bottom": 5},  # an axis' last label may stick out
        "encoding": encoding,
        "layer": layers,
    }


def _quantity(
    field: str, *, axis: Spec | None = None, scale: Spec | None = None, title: str | None = None
) -> Spec:
    drawn = {"axis": axis, "scale": scale} if axis is not None else {}
    return {"field": field, "type": "quantitative", "title": title} | {k: v for k, v in drawn.items() if v}


def _text(field: str) -> Spec:
    return {"field": field, "type": "nominal"}


def _log_ticks(low: float, high: float) -> list[float]:
    """At most six round numbers between two positive ones; none where Vega's own choice is better."""
    last = high / (high / low) ** 0.05  # a label at the very end would stick out
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3)):
        ticks = [tick for decade in decades for step in steps if low <= (tick := step * 10.0**decade) <= last]
        if len(ticks) <= 6:
            return ticks if len(ticks) >= 3 else []
    every = math.ceil(len(decades) / 6)
    return [tick for decade in decades[::every] if low <= (tick := 10.0**decade) <= last]


def _tooltip(*fields: str) -> list[Spec]:
    return [{"field": field, "type": "nominal", "title": field} for field in fields]


def _figure(field: str, title: str, pattern: str = ".4~g") -> Spec:
    return {"field": field, "type": "quantitative", "title": title, "format": pattern}
