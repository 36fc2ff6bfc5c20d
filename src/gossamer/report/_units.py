"""Numbers as people read them: three significant figures, the unit that fits, words for a change.

Sizes are decimal, as in the papers: 1 KB is 1000 bytes.
"""

from __future__ import annotations

import math
from typing import TypeGuard

ABSENT = "–"
_SPACE = "\N{NO-BREAK SPACE}"  # between a number and its unit
TIMES = "\N{MULTIPLICATION SIGN}"
_SAME = 0.005  # changes under half a percent are not worth a word


def size(value: float | None) -> str:
    """Bytes: ``22_000`` -> "22.0 KB"."""
    return _scaled(value, [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")], smallest="B")


def duration(milliseconds: float | None) -> str:
    """Milliseconds: ``0.0125`` -> "12.5 µs"."""
    microseconds = None if milliseconds is None else milliseconds * 1e3
    if microseconds is not None and 0 < microseconds < 1:
        return f"{significant(microseconds * 1e3)}{_SPACE}ns"
    return _scaled(microseconds, [(1e6, "s"), (1e3, "ms")], smallest="µs")


def span(seconds: float | None) -> str:
    """Seconds that a stage took: ``75`` -> "1 min 15 s"."""
    if not _finite(seconds) or seconds < 60:
        return duration(None if seconds is None else seconds * 1e3)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours:,} h", f"{minutes} min") if hours else (f"{minutes} min", f"{rest} s")
    return " ".join(parts).replace(" ", _SPACE)


def count(value: float | None) -> str:
    """How many: ``21_400`` -> "21,400", ``1_820_000_000`` -> "1.82 billion"."""
    if _finite(value) and abs(value) < 1e6:
        return f"{round(value):,}"
    return _scaled(value, [(1e12, "trillion"), (1e9, "billion"), (1e6, "million")], smallest="")


def exact(value: int) -> str:
    """Every digit: ``1_066_440`` -> "1,066,440"."""
    return f"{value:,}"


def percent(part: float | None, whole: float | None) -> str:
    """A share: ``(1, 8)`` -> "12.5 %"."""
    if not _finite(part) or not _finite(whole) or whole == 0:
        return ABSENT
    return f"{significant(100 * part / whole)}{_SPACE}%"


def bits(value: float | None) -> str:
    """Bits per weight or per index: ``5.0`` -> "5", ``3.141`` -> "3.14"."""
    return ABSENT if not _finite(value) else f"{value:.2f}".rstrip("0").rstrip(".")


def ratio(value: float | None) -> str:
    """A factor: ``48.47`` -> "48.5×"."""
    if not _finite(value):
        return ABSENT
    return (f"{value:.2f}" if 0.1 <= value < 1 else significant(value)) + TIMES


def change(factor: float | None, less: str, more: str) -> str:
    """A factor before/after in words: ``(48.47, "smaller", "larger")`` -> "48.5× smaller"."""
    if not _finite(factor) or factor <= 0:
        return ABSENT
    if abs(factor - 1) < _SAME:
        return "unchanged"
    return f"{ratio(factor)} {less}" if factor > 1 else f"{ratio(1 / factor)} {more}"


def quotient(before: float | None, after: float | None) -> float | None:
    """before / after, or ``None`` where that says nothing."""
    if not _finite(before) or not _finite(after) or before <= 0 or after <= 0:
        return None
    return before / after


def significant(value: float) -> str:
    """Three significant figures, without an exponent where a reader can do without one."""
    if not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")  # first, for 9.999 has one digit before the point and 10.0 two
    magnitude = abs(rounded)
    if magnitude < 1e-4 or magnitude >= 1e15:
        return f"{value:.2e}"
    decimals = max(0, 2 - math.floor(math.log10(magnitude)))
    return f"{rounded:,.{decimals}f}" if magnitude < 1000 else f"{round(value):,}"


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _scaled(value: float | None, units: list[tuple[float, str]], smallest: str) -> str:
    if not _finite(value):
        return ABSENT
    for scale, unit in units:
        if abs(value) >= 0.9995 * scale:  # 999,990 bytes are "1.00 MB", not "1,000 KB"
            return f"{significant(value / scale)}{_SPACE}{unit}"
    text = exact(int(value)) if value == int(value) else significant(value)
    return f"{text}{_SPACE}{smallest}" if smallest else text
