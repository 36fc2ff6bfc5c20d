"""Before and after, in plain words and a few big figures."""

from __future__ import annotations

from dataclasses import dataclass

from gossamer.measure.latency import speedup
from gossamer.measure.records import Comparison, Latency
from gossamer.report import _units as units
from gossamer.report._quality import Quality

OURS = "gossamer"  # the runtime whose latency the others are compared with


@dataclass(frozen=True)
class Figure:
    """One card: what it is, what it is now, what it was, and what changed (one line or more)."""

    label: str
    after: str
    before: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Speed:
    """One row of the latency table. ``delta``: how many times faster the compressed file runs in gossamer.

    ``spread``: first and third quartile of delta over the blocks of the race, where they were raced together.
    """

    network: str
    latency: Latency
    delta: float | None
    spread: tuple[float, float] | None
    reference: bool


def title(comparison: Comparison) -> str:
    """The one sentence that a reader takes along: "48.5× smaller"."""
    return units.change(_alpha(comparison), "smaller", "larger")


def summary(comparison: Comparison) -> str:
    """Size, quality and speed in one or two sentences."""
    original, final, quality = comparison.original, comparison.final, Quality.of(comparison)
    sentences = [f"The file went from {units.size(original.file_bytes)} to {units.size(final.file_bytes)}"]
    if original.metric is not None and final.metric is not None:
        word = quality.difference(original.metric, final.metric)
        went = f"{quality.name} from {quality.text(original.metric)} to {quality.text(final.metric)}"
        sentences[0] += f", {went} ({word})" if word else f", {went}"
    reference = _headline_latency(comparison)
    if reference is not None:
        compared = [_compared(speed) for speed in _rivals(comparison, reference)]
        end = f": {', '.join(compared)}" if compared else ""
        sentences.append(f"One run takes {units.duration(reference.median_ms)}{end}")
    return ". ".join(sentences) + "."


def figures(comparison: Comparison) -> list[Figure]:
    """The cards of the headline; what was not measured has no card."""
    original, final = comparison.original, comparison.final
    cards = [
        Figure(
            "File size",
            units.size(final.file_bytes),
            units.size(original.file_bytes),
            (f"{title(comparison)} ({_alpha_text(comparison)})",),
        ),
        *_quality_card(comparison),
        *_latency_card(comparison),
        *_share_card("Weights kept", original.parameters, final.parameters_kept),
        *_share_card("Multiply-accumulates", original.macs, final.macs_executed),
    ]
    if final.peak_memory_bytes is not None:
        before, after = original.peak_memory_bytes, final.peak_memory_bytes
        change = units.change(units.quotient(before, after), "less", "more")
        lines = () if before is None else (change,)
        cards.append(Figure("Peak memory", units.size(after), units.size(before), lines))
    return cards


def speeds(comparison: Comparison) -> list[Speed]:
    """Every latency, beside the compressed file's in gossamer on the same batch and threads."""
    networks = (("original", comparison.original.latencies), ("compressed", comparison.final.latencies))
    rows = [(network, latency) for network, latencies in networks for latency in latencies]
    rows.sort(key=lambda row: (row[1].batch, row[1].threads))  # stable: measured order within a setting
    return [_speed(comparison, network, latency) for network, latency in rows]


def _speed(comparison: Comparison, network: str, latency: Latency) -> Speed:
    reference = _reference(comparison, latency.batch, latency.threads)
    if reference is None:
        return Speed(network, latency, None, None, False)
    if latency.blocks_ms and len(latency.blocks_ms) == len(reference.blocks_ms):
        ratio = speedup(latency, reference)
        return Speed(network, latency, ratio.median, (ratio.low, ratio.high), latency is reference)
    delta = units.quotient(latency.median_ms, reference.median_ms)
    return Speed(network, latency, delta, None, latency is reference)


def _reference(comparison: Comparison, batch: int, threads: int) -> Latency | None:
    ours = (latency for latency in comparison.final.latencies if latency.runtime == OURS)
    return next((ours for ours in ours if (ours.batch, ours.threads) == (batch, threads)), None)


def _headline_latency(comparison: Comparison) -> Latency | None:
    ours = [latency for latency in comparison.final.latencies if latency.runtime == OURS]
    return min(ours, key=lambda latency: (latency.batch, latency.threads), default=None)


def _rivals(comparison: Comparison, reference: Latency) -> list[Speed]:
    setting = (reference.batch, reference.threads)
    same = [o for o in comparison.original.latencies if (o.batch, o.threads) == setting]
    return [_speed(comparison, "original", latency) for latency in same]


def _compared(speed: Speed) -> str:
    """ "3.05× faster than torch eager": a runtime stands for the original network in it."""
    rival = f"the original in {OURS}" if speed.latency.runtime == OURS else speed.latency.runtime
    word = units.change(speed.delta, "faster", "slower")
    return f"as fast as {rival}" if word == "unchanged" else f"{word} than {rival}"


def _alpha(comparison: Comparison) -> float | None:
    return units.quotient(comparison.original.file_bytes, comparison.final.file_bytes)


def _alpha_text(comparison: Comparison) -> str:
    return f"α = {units.ratio(_alpha(comparison)).rstrip(units.TIMES)}".replace(" ", "\N{NO-BREAK SPACE}")


def _quality_card(comparison: Comparison) -> list[Figure]:
    quality, before, after = Quality.of(comparison), comparison.original.metric, comparison.final.metric
    if after is None:
        return []
    change = quality.difference(before, after)
    return [Figure(quality.label, quality.text(after), quality.text(before), (change,) if change else ())]


def _latency_card(comparison: Comparison) -> list[Figure]:
    reference = _headline_latency(comparison)
    if reference is None:
        return []
    lines = tuple(
        f"{_compared(speed)} ({units.duration(speed.latency.median_ms)})"
        for speed in _rivals(comparison, reference)
    )
    threads = "1 thread" if reference.threads == 1 else f"{reference.threads} threads"
    label = f"Latency, batch {reference.batch}, {threads}"
    return [Figure(label, units.duration(reference.median_ms), units.ABSENT, lines)]


def _share_card(label: str, before: int | None, after: int | None) -> list[Figure]:
    if not before or after is None:
        return []
    line = f"{units.count(after)} of {units.count(before)}"
    return [Figure(label, units.percent(after, before), "", (line,))]
