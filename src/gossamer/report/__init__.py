"""The report: one self-contained HTML page that says what was compressed, how far, and how that was measured.

>>> write_report(comparison, "report.html")  # doctest: +SKIP
"""

from __future__ import annotations

from os import PathLike

from gossamer.measure.records import Comparison
from gossamer.report._file import replace
from gossamer.report._page import render

__all__ = ["render", "write_report"]


def write_report(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises what :func:`render` raises, and :class:`gossamer.errors.SaveError` when the file cannot be written;
    a file that stood there is then whole.
    """
    replace(path, render(comparison).encode())
