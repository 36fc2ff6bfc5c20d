"""A chart of horizontal bars, one a layer or one a step, and what is said of those that it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gossamer.report import _vega as vega
from gossamer.report._chart import Chart, Rows, number
from gossamer.report._layers import REST, distinct

BAR_LIMIT = 30  # bars of one chart; what the others have in sum is said beneath its title
_NAME_WIDTH = 46  # characters above a bar on a phone


@dataclass(frozen=True)
class Bar:
    """One bar: parts are (series, what it is, length, the length in words)."""

    name: str
    parts: tuple[tuple[int, str, float, str], ...]
    text: str


@dataclass(frozen=True)
class Bars:
    """A chart without its bars. ``unit``: a key of ``vega.LABELS``; ``maximum``: where the axis ends, or 0 for
    the longest bar.
    """

    key: str
    caption: str
    unit: str
    maximum: float = 0.0

    def chart(self, bars: Sequence[Bar], remark: str) -> Chart:
        """The chart of these bars, from top to bottom."""
        pieces: Rows = []
        rows: Rows = []
        last = [bar.name for bar in bars[-1:] if bar.name == REST]  # not a path like the others
        names = [*distinct([bar.name for bar in bars[: len(bars) - len(last)]], _NAME_WIDTH), *last]
        for row, (name, bar) in enumerate(zip(names, bars, strict=True)):
            at = 0.0
            for series, what, length, words in bar.parts:
                start, at = at, at + length
                piece = {"row": row, "start": number(start), "end": number(at), "series": series}
                pieces.append(piece | {"layer": bar.name, "part": what, "amount": words})
            rows.append({"row": row, "end": number(at), "name": name, "text": bar.text})
        longest = self.maximum or max((row["end"] or 0.0 for row in rows), default=0.0) or 1.0
        more = "; the table has every one" if len(bars) > 8 else ""
        return Chart(
            key=self.key,
            caption=self.caption,
            remark=remark,
            spoken="; ".join(f"{bar.name}: {bar.text}" for bar in bars[:8]) + more,
            kind=self.key,
            spec=vega.bars(self.unit, len(bars), longest),
            datasets={"bars": pieces, "rows": rows},
        )


def omitted(others: Sequence[object], together: str) -> str:
    """What is said where only the largest are shown."""
    return f"The {BAR_LIMIT} largest; the {len(others)} others together: {together}." if others else ""
