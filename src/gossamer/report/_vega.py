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
# Decimal units on an axis, as everywhere on the page.
_BYTES = (
    "datum.value >= 1e9 ? format(datum.value / 1e9, '~r') + ' GB' : "
    "datum.value >= 1e6 ? format(datum.value / 1e6, '~r') + ' MB' : "
    "datum.value >= 1e3 ? format(datum.value / 1e3, '~r') + ' KB' : format(datum.value, '~r') + ' B'"
)
_MILLISECONDS = (
    "datum.value >= 1e3 ? format(datum.value / 1e3, '~r') + ' s' : "
    "datum.value >= 1 ? format(datum.value, '~r') + ' ms' : format(datum.value * 1e3, '~r') + ' µs'"
)
_COUNTS = "format(datum.value, '~s')"
_PERCENT = "format(datum.value, '~r') + ' %'"
LABELS = {"bytes": _BYTES, "ms": _MILLISECONDS, "count": _COUNTS, "percent": _PERCENT}
SERIES = ("var(--series-1)", "var(--series-2)", "var(--series-3)")


def scatter(unit: str, titles: tuple[str, str], domains: tuple[list[float], list[float]]) -> Spec:
    """Quality over cost (logarithmic), the recipe's points joined in order; Pareto-optimal ones are filled.

    Data "points": x, y, order, label, best (bool), and the texts of the tooltip: stage, cost, quality.
    """
    (x_title, y_title), (x_domain, y_domain) = titles, domains
    ticks = _log_ticks(*x_domain)
    encoding = {
        "x": {
            "field": "x",
            "type": "quantitative",
            "title": x_title,
            "scale": {"type": "log", "domain": x_domain, "nice": False},
            "axis": {"labelExpr": LABELS[unit], "labelOverlap": "greedy"}
            | ({"values": ticks} if ticks else {}),
        },
        "y": {
            "field": "y",
            "type": "quantitative",
            "title": y_title,
            "scale": {"domain": y_domain, "zero": False, "nice": False},
            "axis": {"tickCount": 6},
        },
    }
    path = {"mark": {"type": "line", "color": "var(--line-strong)", "strokeWidth": 1.5}}
    dots = {
        "mark": {"type": "point", "size": 110, "strokeWidth": 2, "stroke": "var(--series-1)", "opacity": 1},
        "encoding": {
            "fill": {
                "condition": {"test": "datum.best", "value": "var(--series-1)"},
                "value": "var(--surface)",
            },
            "fillOpacity": {"value": 1},
            "tooltip": _tooltip("stage", "cost", "quality"),
        },
    }
    numbers = {
        "mark": {"type": "text", "dy": -13, "fontWeight": 600},
        "encoding": {"text": {"field": "label", "type": "nominal"}},
    }
    order: Spec = {"order": {"field": "order", "type": "quantitative"}}
    path["encoding"] = order
    return _chart("points", encoding, [path, dots, numbers], height=320)


def bars(unit: str, rows: int, maximum: float) -> Spec:
    """One horizontal bar a layer, of parts that were stacked beforehand; its name above, a text at its end.

    Names stand above their bars, not beside them: so they stay whole on a phone.
    Data "bars": row, start, end, series (index into SERIES), layer, part, amount.
    Data "rows": row, end, name, text.
    """
    y = {
        "field": "row",
        "type": "ordinal",
        "axis": None,
        "scale": {"domain": list(range(rows)), "paddingInner": 0, "paddingOuter": 0},
    }
    x = {
        "field": "start",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [0, maximum], "nice": False},
        "axis": {"labelExpr": LABELS[unit], "tickCount": 4},
    }
    colour = {
        "field": "series",
        "type": "ordinal",
        "scale": {"domain": list(range(len(SERIES))), "range": list(SERIES)},
        "legend": None,
    }
    parts = {
        "mark": {"type": "bar", "height": 12, "yOffset": 8},
        "encoding": {
            "x": x,
            "x2": {"field": "end"},
            "color": colour,
            "tooltip": _tooltip("layer", "part", "amount"),
        },
    }
    names = {
        "data": {"name": "rows"},
        "mark": {"type": "text", "align": "left", "yOffset": -7, "limit": {"expr": "width"}},
        "encoding": {"x": {"value": 0}, "text": {"field": "name", "type": "nominal"}},
    }
    ends = {
        "data": {"name": "rows"},
        "mark": {"type": "text", "align": "left", "dx": 5, "yOffset": 8, "color": "var(--muted)"},
        "encoding": {
            "x": {"field": "end", "type": "quantitative"},
            "text": {"field": "text", "type": "nominal"},
        },
    }
    return _chart("bars", {"y": y}, [parts, names, ends], height=36 * rows)


def histogram(clustered: bool) -> Spec:
    """Counts of kept weights over their value; where they are clustered, a tick below the axis a centroid.

    Data "bins": one row with the lists low, high, count.
    Data "centroids": one row with the lists value, weights.
    """
    x = {
        "field": "low",
        "type": "quantitative",
        "title": None,
        "scale": {"zero": False, "nice": False},
        "axis": {"tickCount": 5, "offset": 10, "format": "~g", "grid": False, "labelOverlap": "greedy"},
    }
    y = {
        "field": "count",
        "type": "quantitative",
        "title": None,
        "axis": {"tickCount": 3, "domain": False, "ticks": False},
    }
    bins = {
        "transform": [{"flatten": ["low", "high", "count"]}],
        "mark": {"type": "bar", "color": "var(--series-1)", "binSpacing": 0},
        "encoding": {
            "x": x,
            "x2": {"field": "high"},
            "y": y,
            "y2": {"datum": 0},
            "tooltip": [_figure("low", "from"), _figure("high", "to"), _figure("count", "weights", ",")],
        },
    }
    centroids = {
        "data": {"name": "centroids"},
        "transform": [{"flatten": ["value", "weights"]}],
        "mark": {"type": "rule", "color": "var(--series-2)", "strokeWidth": 1.5},
        "encoding": {
            "x": {"field": "value", "type": "quantitative"},
            "y": {"value": {"expr": "height + 1"}},
            "y2": {"value": {"expr": "height + 9"}},
            "tooltip": [_figure("value", "centroid"), _figure("weights", "weights", ",")],
        },
    }
    return _chart("bins", {}, [bins, centroids] if clustered else [bins], height=130)


def _chart(data: str, encoding: Spec, layers: list[Spec], height: int) -> Spec:
    return {
        "data": {"name": data},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 4, "top": 5, "right": 16, "bottom": 5},  # an axis' last label may stick out
        "encoding": encoding,
        "layer": layers,
    }


def _log_ticks(low: float, high: float) -> list[float]:
    """At most six round numbers between two positive ones; none where Vega's own choice is better."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [tick for decade in decades for step in steps if low <= (tick := step * 10.0**decade) <= high]
        if len(ticks) <= 6:
            return ticks if len(ticks) >= 3 else []
    return []


def _tooltip(*fields: str) -> list[Spec]:
    return [{"field": field, "type": "nominal", "title": field} for field in fields]


def _figure(field: str, title: str, pattern: str = ".4~g") -> Spec:
    return {"field": field, "type": "quantitative", "title": title, "format": pattern}
