"""Where output goes: results to standard output, everything else to standard error; JSON is pure."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

ABSENT = "–"
_WIDE = 160  # where the output is not a terminal, tables are not squeezed into 80 columns


def results() -> Console:
    """Standard output, for what was asked for."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, soft_wrap=False)


def messages() -> Console:
    """Standard error, for progress and notes."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """``value`` (dataclasses, mappings, sequences, numbers) as JSON on standard output; what is no number
    is null.
    """
    sys.stdout.write(json.dumps(_plain(value), indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], totals: int = 0, words: int = 1
) -> Table:
    """A table whose first ``words`` columns are text and whose others are numbers; the last ``totals`` rows
    are set off.
    """
    made = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i < words else "right", overflow="fold")
    for i, row in enumerate(rows):
        made.add_row(*row, end_section=i == len(rows) - totals - 1)
    return made


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """A bar on a terminal's standard error while the context is open; yields ``advance(share)``, 0 to 1."""
    console = messages()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def count(number: int | None) -> str:
    """Every digit: 266610 -> "266,610"."""
    return ABSENT if number is None else f"{number:,}"


def percent(part: float | None, whole: float | None) -> str:
    """A share: (1, 8) -> "12.5 %"."""
    return ABSENT if part is None or not whole else f"{100 * part / whole:.1f} %"


def bits(number: float | None) -> str:
    """Bits of a weight or an index."""
    return ABSENT if number is None else f"{number:.2f}".rstrip("0").rstrip(".")


def milliseconds(number: float) -> str:
    """Four significant digits, as many as a median over hundreds of runs is worth."""
    digits = 3 if number <= 0 else max(0, 3 - math.floor(math.log10(number)))
    return f"{number:.{digits}f}"
