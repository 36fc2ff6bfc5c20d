"""The plot of speed against zeros and block shape, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS = "gossamer"
USUAL = 4  # rows that share a pattern
PEERS = ("deepsparse", "openvino nncf sparse", "openvino")
FONT = "system-ui, sans-serif"


def write_plot(rows: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Write the plot to ``path``; False, and nothing written, where no workload with zeros was raced."""
    import vl_convert

    plain = [row for row in rows if row["threads"] == row["batch"] == 1 and not row["key"].endswith("-avx2")]
    points = [point for row in plain for point in points_of(row, shapes_of(plain, row))]
    if not any(point["zeros"] for point in points):
        return False
    path.write_text(vl_convert.vegalite_to_svg(specification(points)), encoding="utf-8")
    return True


def shapes_of(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> list[int]:
    """Over how many rows the row's patterns go; for a dense one, all that its network was raced with."""
    if row["zeros"]:
        return [row["rows"]]
    same = [other for other in rows if other["zeros"] and where(other) == where(row)]
    return sorted({other["rows"] for other in same})


def where(row: Mapping[str, Any]) -> str:
    """The small chart that a row belongs to."""
    return f"{row['title']}, {row['precision']}"


def points_of(row: Mapping[str, Any], shapes: Sequence[int]) -> list[dict[str, Any]]:
    """The workload's points: GOP/s of the dense network, by runtime; ours by block shape, theirs at the usual one."""
    labels = [(OURS, f"{OURS}, 1x4 over {shape}") for shape in shapes]
    if not row["zeros"] or row["rows"] == USUAL:
        labels += [(peer, peer) for peer in PEERS]
    table = row["passes"][-1]
    return [
        {
            "zeros": 100 * row["zeros"],
            "gops": 2e-6 * row["macs"] / table[name]["median_ms"],
            "runtime": label,
            "where": where(row),
        }
        for name, label in labels
        if name in table
    ]


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
