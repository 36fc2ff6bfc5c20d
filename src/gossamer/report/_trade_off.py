"""The plot of a mixed precision's trade-off: error over bytes or time, and the point that was chosen."""

from __future__ import annotations

import math
from typing import Any

from gossamer.quantize import TradeOff
from gossamer.report._svg import as_svg

_COSTS = {"bytes": "bytes of the weights", "microseconds": "microseconds of a run, layers timed one by one"}
_LEAST = 1e-12  # an axis of logarithms has no zero
_LINE, _CHOSEN = "#4c78a8", "#e45756"


def trade_off_svg(found: TradeOff) -> str:
    """One chart for each cost that was measured, side by side, as SVG. Raises MissingDependencyError."""
    measured = [cost for cost in _COSTS if not math.isnan(getattr(found.chosen, cost))]
    return as_svg({"hconcat": [_chart(found, cost) for cost in measured]})


def _chart(found: TradeOff, cost: str) -> dict[str, Any]:
    def row(point: object, order: int) -> dict[str, float]:
        error = getattr(point, "error")  # noqa: B009
        return {"cost": getattr(point, cost), "error": max(error, _LEAST), "order": order}

    encoding = {
        "x": {"field": "cost", "type": "quantitative", "title": _COSTS[cost], "scale": {"zero": False}},
        "y": {
            "field": "error",
            "type": "quantitative",
            "title": "error of the outputs, summed over layers",
            "scale": {"type": "log"},
        },
    }
    line = {
        "data": {"values": [row(point, i) for i, point in enumerate(found.points)]},
        "mark": {"type": "line", "point": True, "color": _LINE},
        "encoding": {**encoding, "order": {"field": "order", "type": "quantitative"}},
    }
    chosen = {
        "data": {"values": [row(found.chosen, 0)]},
        "mark": {"type": "point", "size": 160, "filled": True, "color": _CHOSEN},
        "encoding": encoding,
    }
    return {"width": 420, "height": 300, "layer": [line, chosen]}
