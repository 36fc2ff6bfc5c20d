"""The plot of sensitivity curves: growth of the loss over the share of one layer that is removed."""

from __future__ import annotations

from gossamer.prune import Curves
from gossamer.report._svg import as_svg

_LEAST = 1e-4  # an axis of logarithms has no zero, and a loss may fall


def sensitivity_svg(curves: Curves) -> str:
    """A line for each layer, in the order of the network, as SVG. Raises MissingDependencyError."""
    values = [
        {"removed": 100 * share, "growth": max(growth, _LEAST), "layer": name.removesuffix(".weight")}
        for name, measured in curves.increase.items()
        for share, growth in zip(curves.shares, measured, strict=True)
    ]
    encoding = {
        "x": {"field": "removed", "type": "quantitative", "title": "of the layer removed, %"},
        "y": {
            "field": "growth",
            "type": "quantitative",
            "title": "growth of the validation loss",
            "scale": {"type": "log"},
        },
        "color": {"field": "layer", "type": "nominal", "title": None, "sort": None},
    }
    chart = {
        "width": 420,
        "height": 300,
        "data": {"values": values},
        "mark": {"type": "line", "point": True},
        "encoding": encoding,
    }
    return as_svg(chart)
