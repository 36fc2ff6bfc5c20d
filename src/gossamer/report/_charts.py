"""All charts of the page that the records have data for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gossamer.measure.records import Comparison
from gossamer.report._chart import Chart
from gossamer.report._layer_charts import byte_chart, kept_chart, mac_chart
from gossamer.report._quality import Quality
from gossamer.report._stage_charts import stage_charts
from gossamer.report._stages import Point
from gossamer.report._step_charts import Profile, profiles
from gossamer.report._weight_charts import weight_charts


@dataclass(frozen=True)
class Charts:
    """The charts by their place on the page; ``more_histograms`` lie in a fold."""

    stages: list[Chart]
    size: Chart | None
    kept: Chart | None
    macs: Chart | None
    profiles: list[Profile]
    histograms: list[Chart]
    more_histograms: list[Chart]

    def all(self) -> list[Chart]:
        """Every chart, in the order of the page."""
        single = [chart for chart in (self.size, self.kept, self.macs) if chart is not None]
        steps = [profile.chart for profile in self.profiles]
        return [*self.stages, *steps, *single, *self.histograms, *self.more_histograms]


def charts(comparison: Comparison, points: Sequence[Point]) -> Charts:
    """The charts of a comparison whose stage table has these points."""
    layers = comparison.final.layers
    first, more = weight_charts(layers)
    return Charts(
        stages=stage_charts(points, Quality.of(comparison)),
        size=byte_chart(comparison.final) if layers else None,
        kept=kept_chart(layers) if layers else None,
        macs=mac_chart(layers),
        profiles=profiles(comparison),
        histograms=first,
        more_histograms=more,
    )
