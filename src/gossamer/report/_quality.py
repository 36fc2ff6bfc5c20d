"""The task's metric as people read it: percent for a share, else the number; better or worse in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gossamer.measure.records import Comparison
from gossamer.report._units import ABSENT

# A metric of one of these names that stays within [0, 1] is a share of the examples.
_SHARES = ("accuracy", "error rate", "error_rate", "top-1", "top1", "top-5", "top5")


@dataclass(frozen=True)
class Quality:
    """How one metric is written. ``share``: its values are fractions of 1, shown as percent."""

    name: str
    maximize: bool
    share: bool

    @classmethod
    def of(cls, comparison: Comparison) -> Quality:
        """The metric of a comparison; whether it is a share follows from its name and all its values."""
        stages = (stage.measurement for stage in comparison.stages)
        metrics = (m.metric for m in (comparison.original, *stages, comparison.final))
        values = [metric for metric in metrics if metric is not None and math.isfinite(metric)]
        named = any(word in comparison.metric_name.lower() for word in _SHARES)
        return cls(comparison.metric_name, comparison.maximize, named and all(0 <= v <= 1 for v in values))

    @property
    def label(self) -> str:
        """The name at the beginning of a line: "Accuracy"."""
        return self.name[:1].upper() + self.name[1:]

    def text(self, value: float | None) -> str:
        """One value: "98.36 %", "0.0712", "not a number"."""
        if value is None:
            return ABSENT
        if not math.isfinite(value):
            return "not a number" if math.isnan(value) else "infinite"
        return f"{100 * value:.2f}\N{NO-BREAK SPACE}%" if self.share else f"{value:.4g}"

    def difference(self, before: float | None, after: float | None) -> str:
        """What became of it: "0.04 points better", "unchanged"."""
        if before is None or after is None or not math.isfinite(before) or not math.isfinite(after):
            return ""
        amount = f"{abs(100 * (after - before)):.2f} points" if self.share else f"{abs(after - before):.3g}"
        if self.text(before) == self.text(after):
            return "unchanged"
        return f"{amount} {'better' if (after > before) == self.maximize else 'worse'}"
