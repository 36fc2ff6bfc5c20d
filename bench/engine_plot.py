"""The plot of speed against zeros and block shape, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS = "gossamer"
PEERS = ("deepsparse", "openvino nncf sparse", "openvino")
FONT = "system-ui, sans-serif"


def write_plot(rows: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Write the plot to ``path``; False, and nothing written, where no workload with zeros was raced."""
    import vl_convert

    points = [point for row in rows if row["threads"] == row["batch"] == 1 for point in points_of(row)]
    if not any(point["zeros"] for point in points):
        return False
    path.write_text(vl_convert.vegalite_to_svg(specification(points)), encoding="utf-8")
    return True


def points_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The workload's points: GOP/s of the dense network, by runtime and block shape."""
    if row["key"].endswith("-avx2"):
        return []
    table = row["passes"][-1]
    points = []
    for name in (OURS, *PEERS):
        if name in table:
            label = f"{name} (1x4 over {row['rows'] or 4})" if name == OURS else name
            gops = 2e-6 * row["macs"] / table[name]["median_ms"]
            where = f"{row['title']}, {row['precision']}"
            points.append({"zeros": 100 * row["zeros"], "gops": gops, "runtime": label, "where": where})
    return points


def specification(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Vega-Lite: one small chart for each network and precision that was raced with zeros."""
    shown = {point["where"] for point in points if point["zeros"]}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "axis": {"gridColor": "#e5e5e5", "domainColor": "#999"},
        },
        "data": {"values": [point for point in points if point["where"] in shown]},
        "facet": {"field": "where", "type": "nominal", "title": None, "header": {"labelFontWeight": "bold"}},
        "columns": 2,
        "spec": {
            "width": 300,
            "height": 200,
            "mark": {"type": "line", "point": True, "strokeWidth": 2},
            "encoding": {
                "x": {"field": "zeros", "type": "quantitative", "title": "zeros, %"},
                "y": {
                    "field": "gops",
                    "type": "quantitative",
                    "title": "GOP/s, of the dense network",
                    "scale": {"zero": True},
                },
                "color": {
                    "field": "runtime",
                    "type": "nominal",
                    "title": None,
                    "legend": {"orient": "bottom", "columns": 3},
                },
            },
        },
        "resolve": {"scale": {"y": "independent"}},
    }
