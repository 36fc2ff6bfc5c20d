"""Charts that stand alone, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gossamer.errors import MissingDependencyError


def as_svg(chart: Mapping[str, Any]) -> str:
    """A Vega-Lite specification, drawn. Raises MissingDependencyError."""
    try:
        import vl_convert
    except ImportError as missing:
        raise MissingDependencyError(
            "the plot needs vl-convert-python: pip install vl-convert-python"
        ) from missing
    return str(vl_convert.vegalite_to_svg(dict(chart)))
