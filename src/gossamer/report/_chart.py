"""One chart of the page: its words, its Vega-Lite specification and its data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from gossamer.report._vega import Spec

Rows: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True)
class Chart:
    """One figure. ``key``: its element's id. ``spoken``: what it shows, for those who do not see it.

    Charts of one ``kind`` share one specification; ``datasets`` are the lists of rows that it names.
    """

    key: str
    caption: str
    remark: str
    spoken: str
    kind: str
    spec: Spec
    datasets: dict[str, Rows]


def number(value: float) -> float | None:
    """Six figures are more than a chart shows; JSON has no NaN and no infinity."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
