"""The plots of the page on pruning, as SVG by Vega-Lite."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STYLE = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "background": "white",
    # Right: another font than the one that legends are measured in may be wider.
    "padding": {"left": 5, "top": 5, "bottom": 5, "right": 30},
    "config": {
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": {"gridColor": "#e5e5e5", "domainColor": "#999"},
    },
}
SIZE = {"width": 340, "height": 230}
# Vega's own palette has ten colours.
THIRTEEN = (
    *("#1f77b4", "#ff7f0e", "#7f7f7f", "#2ca02c", "#98df8a", "#d62728", "#9467bd", "#e377c2", "#8c564b"),
    *("#17becf", "#bcbd22", "#000000", "#aec7e8"),
)


def write(specification: Mapping[str, Any], path: Path) -> None:
    import vl_convert

    path.write_text(vl_convert.vegalite_to_svg({**STYLE, **specification}), encoding="utf-8")


def axis(field: str, title: str, **scale: Any) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False, **scale}}


def color(field: str, title: str | None = None) -> dict[str, Any]:
    return {"field": field, "type": "nominal", "title": title, "sort": None}


def networks_of(seed: Mapping[str, Any]) -> list[str]:
    """The networks of one run of the lottery; what is told of the run itself is no network."""
    return [name for name, value in seed.items() if isinstance(value, Mapping)]


def lottery_curves(seeds: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Validation loss by step of five networks; and by share kept, the error of tickets and controls."""
    shown = [
        name for name in ("ticket 0", "ticket 3", "ticket 7", "ticket 15", "reinit 7") if name in seeds[0]
    ]
    labels = {n: f"{n}: {statistics.fmean(s[n]['kept'] for s in seeds):.1f} %" for n in shown}
    losses = [
        {"step": 100 * (i + 1), "loss": statistics.fmean(values), "network": labels[name]}
        for name in shown
        for i, values in enumerate(zip(*(seed[name]["curve"] for seed in seeds), strict=True))
    ]
    errors = [
        {"kept": seed[name]["kept"], "error": seed[name]["error"], "network": name.split()[0]}
        for seed in seeds
        for name in networks_of(seed)
    ]
    left = {
        **SIZE,
        "data": {"values": losses},
        "mark": {"type": "line", "clip": True},
        "encoding": {
            "x": axis("step", "training step", type="log"),
            "y": axis("loss", "validation loss", type="log"),
            "color": color("network"),
        },
    }
    points = {
        **SIZE,
        "data": {"values": errors},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": axis("kept", "weights kept, %", type="log"),
            "y": {**axis("error", "test error at the end, %"), "aggregate": "mean"},
            "color": color("network"),
        },
    }
    write({"hconcat": [left, points], "resolve": {"scale": {"color": "independent"}}}, path)


def criteria_curves(named: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Error against the share kept, at once and after fine-tuning."""
    values = [
        {
            "kept": float(kept),
            "error": statistics.fmean(seed["rows"][kept][when] for seed in seeds),
            "criterion": criterion,
            "when": title,
        }
        for criterion, seeds in named.items()
        for kept in seeds[0]["rows"]
        for when, title in (("at_once", "at once"), ("tuned", "after fine-tuning"))
    ]
    chart = {
        **SIZE,
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": axis("kept", "weights kept, %", type="log"),
            "y": axis("error", "test error, %", type="log"),
            "color": {**color("criterion"), "scale": {"range": list(THIRTEEN)}},
        },
    }
    facet = {"field": "when", "type": "nominal", "title": None, "sort": ["at once", "after fine-tuning"]}
    write(
        {
            "data": {"values": values},
            "facet": facet,
            "spec": chart,
            "resolve": {"scale": {"y": "independent"}},
        },
        path,
    )


def error_and_latency(rows: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """What speed costs in accuracy, in float32 and in int8: a point for each pattern and share, joined by pattern."""
    values = []
    for name, seeds in rows.items():
        pattern, _, removed = name.removesuffix(" %").rpartition(" ")
        error = statistics.fmean(row["error"] for row in seeds)
        point = {"error": error, "pattern": pattern or name, "removed": removed}
        for precision, field in (("float32", "milliseconds"), ("int8", "int8_milliseconds")):
            times = [row[field] for row in seeds if field in row]
            values += [{**point, "precision": precision, "ms": time} for time in times[:1]]
    encoding = {
        "x": axis("ms", "Engine, milliseconds per image"),
        "y": axis("error", "test error, %"),
        "color": color("pattern"),
    }
    lines = {"mark": {"type": "line", "point": True}, "encoding": encoding}
    text = {
        "mark": {"type": "text", "dy": -8, "fontSize": 9},
        "encoding": {**encoding, "text": {"field": "removed"}},
    }
    write(
        {
            "data": {"values": values},
            "facet": {"field": "precision", "type": "nominal", "title": None, "sort": None},
            "spec": {**SIZE, "layer": [lines, text]},
            "resolve": {"scale": {"x": "independent"}},
        },
        path,
    )
