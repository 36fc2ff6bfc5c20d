"""The report: one self-contained HTML page that says what was compressed, how far, and how that was measured.

>>> write_report(comparison, "report.html")  # doctest: +SKIP
"""

from __future__ import annotations

from os import PathLike

from gossamer.measure.records import Comparison
from gossamer.prune import Curves
from gossamer.quantize import Diagnosis, TradeOff
from gossamer.report._diagnosis import render_diagnosis
from gossamer.report._file import replace
from gossamer.report._page import render
from gossamer.report._sensitivity import sensitivity_svg
from gossamer.report._trade_off import trade_off_svg

__all__ = [
    "render",
    "render_diagnosis",
    "write_diagnosis",
    "write_report",
    "write_sensitivity",
    "write_trade_off",
]


def write_report(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises what :func:`render` raises, and :class:`gossamer.errors.SaveError` when the file cannot be written;
    a file that stood there is then whole.
    """
    replace(path, render(comparison).encode())


def write_diagnosis(diagnosis: Diagnosis, path: str | PathLike[str]) -> None:
    """Write what :func:`gossamer.quantize.diagnose` found as a page: layers, advice, histograms with their ranges.

    Raises :class:`gossamer.errors.SaveError` when the file cannot be written.
    """
    replace(path, render_diagnosis(diagnosis).encode())


def write_trade_off(found: TradeOff, path: str | PathLike[str]) -> None:
    """Plot what :meth:`gossamer.quantize.MixedPrecision.trade_off` found, as an SVG file: error over bytes and time.

    Raises :class:`gossamer.errors.SaveError` when the file cannot be written, and MissingDependencyError.
    """
    replace(path, trade_off_svg(found).encode())


def write_sensitivity(curves: Curves, path: str | PathLike[str]) -> None:
    """Plot what :meth:`gossamer.prune.Prune.sensitivity` measured, as an SVG file: a line for each layer.

    Raises :class:`gossamer.errors.SaveError` when the file cannot be written, and MissingDependencyError.
    """
    replace(path, sensitivity_svg(curves).encode())
