"""The page docs/results/pruning.md and its plots, made from the bench's JSON and the papers' figures."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pruning_plots as plots
from pruning_plots import networks_of

from gossamer.prune import Curves
from gossamer.report import write_sensitivity

Rows = dict[str, list[dict[str, Any]]]  # outcomes by name, of all seeds


@dataclass(frozen=True)
class Target:
    """What an experiment has to reach: error in percent at most, at this many percent kept at most."""

    experiment: str
    name: str
    title: str
    error: float
    kept: float
    source: str


TARGETS = (
    Target(
        "sparse", "lenet-300-100 8 % gradual", "LeNet-300-100", 1.6, 8.0, "Han et al. 2015: 1.59 % at 8 %"
    ),
    Target(
        "sparse", "lenet-300-100 1.8 % gradual", "LeNet-300-100", 1.9, 1.8, "Guo et al. 2016: 1.99 % at 1.8 %"
    ),
    Target(
        "sparse",
        "lenet-300-100 1.8 % surgery",
        "LeNet-300-100, surgery",
        1.9,
        1.8,
        "Guo et al. 2016, the same way",
    ),
    Target("sparse", "lenet-5 8 % gradual", "LeNet-5", 0.8, 8.0, "Han et al. 2015: 0.77 % at 8 %"),
    Target("sparse", "lenet-5 0.93 % gradual", "LeNet-5", 0.91, 0.93, "Guo et al. 2016: 0.91 % at 0.93 %"),
    Target("snip", "lenet-300-100 95 % removed", "LeNet-300-100, SNIP", 1.6, 5.0, "Lee et al. 2019: 1.6 %"),
    Target("snip", "lenet-5 98 % removed", "LeNet-5, SNIP", 0.8, 2.0, "Lee et al. 2019: 0.8 %"),
    Target("snip", "lenet-5 99 % removed", "LeNet-5, SNIP", 1.1, 1.0, "Lee et al. 2019: 1.1 %"),
)

POINTS_LOST, TIMES_AS_FAST = 0.3, 1.6  # of channels

HEAD = """# Pruning

Written by `make bench-pruning` from [pruning.json](../../bench/results/pruning.json): full MNIST (55,000 training
images) and Fashion-MNIST (the same split). Errors are on the 10,000 test images after the last epoch, mean (least to
most) over the seeds; what was chosen was chosen on 5,000 validation images. *Kept*: of the weights of all layers."""


def of_precision(experiments: Mapping[str, Rows]) -> str:
    """Which trainings multiplied in bfloat16."""
    halves = [
        name
        for name, rows in experiments.items()
        if any(each.get("precision") == "bf16" for outcomes in rows.values() for each in outcomes)
    ]
    return f"Trained in bfloat16 (autocast), in whole\nor part: {', '.join(halves) or 'none'}; in float32: all else."


def write_page(results: Mapping[str, Any], path: Path) -> bool:
    """Write the page and the plots beside it; whether every target that was tried is reached."""
    experiments: dict[str, Rows] = defaultdict(lambda: defaultdict(list))
    for key, outcome in results.items():
        experiment, name, _ = key.split("/")
        experiments[experiment][name].append(outcome)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [f"{HEAD} {of_precision(experiments)}", targets_section(experiments)]
    for name, section in SECTIONS.items():
        if experiments.get(name):
            parts.append(section(experiments[name], path.parent))
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return all(reached(target, experiments) is not False for target in TARGETS)


def mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def spread(rows: Sequence[Mapping[str, Any]], key: str = "error") -> str:
    """Mean, least and most of a percentage."""
    values = [row[key] for row in rows]
    if len(values) == 1:
        return f"{values[0]:.2f} %"
    return f"{statistics.fmean(values):.2f} % ({min(values):.2f} to {max(values):.2f})"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def reached(target: Target, experiments: Mapping[str, Rows]) -> bool | None:
    """None where it was not tried."""
    rows = experiments.get(target.experiment, {}).get(target.name)
    if not rows:
        return None
    return round(mean(rows, "error"), 3) <= target.error and mean(rows, "kept") <= target.kept * 1.005


def targets_section(experiments: Mapping[str, Rows]) -> str:
    lines = []
    for target in TARGETS:
        rows = experiments.get(target.experiment, {}).get(target.name)
        if not rows:
            lines.append(
                [target.title, f"{target.kept:g} %", f"{target.error:g} %", "", "", "", "not measured"]
            )
            continue
        verdict = "met" if reached(target, experiments) else "**missed**"
        kept, error = f"{mean(rows, 'kept'):.2f} %", spread(rows)
        count = str(len(rows))
        wanted = f"{target.error:g} % ({target.source})"
        lines.append([target.title, kept, wanted, error, spread(rows, "valid_error"), count, verdict])
    columns = ["elements", "kept", "at most", "test error", "validation error", "seeds", ""]
    return "## What the papers reached\n\n" + table(columns, lines)


def lottery_section(rows: Rows, folder: Path) -> str:
    seeds = next(iter(rows.values()))
    points = [p for p in networks_of(seeds[0]) if p.startswith("ticket")]
    order = sorted(points, key=lambda name: int(name.split()[1]))
    others = [p for p in networks_of(seeds[0]) if not p.startswith("ticket")]
    lines = []
    for name in [*order, *others]:
        each = [seed[name] for seed in seeds]
        best = [min(range(len(e["curve"])), key=e["curve"].__getitem__) for e in each]
        early = statistics.fmean(100 * (place + 1) for place in best)
        least = statistics.fmean(min(e["curve"]) for e in each)
        lines.append([name, f"{mean(each, 'kept'):.1f} %", spread(each), f"{early:,.0f}", f"{least:.4f}"])
    plots.lottery_curves(seeds, folder / "pruning-lottery.svg")
    columns = ["network", "kept", "test error at the end", "least validation loss at step", "which is"]
    return f"""## Lottery ticket, LeNet-300-100

Frankle and Carbin 2019: 20 % of the weights go each round (10 % in the last layer), what is left goes back to where it
started. *reinit*: the same mask, new weights; *one-shot*: pruned once. Adam(0.0012), batches of 60, the validation loss
every 100 steps.

{table(columns, lines)}

![Validation loss and error of tickets](pruning-lottery.svg)"""


def side_by_side(rows: Rows, subject: str, what: str) -> str:
    """A table of errors at once and after fine-tuning, by share kept."""
    named = rows_of(rows, subject)
    kept = list(next(iter(named.values()))[0]["rows"])
    lines = []
    for name, seeds in named.items():
        cells = []
        for share in kept:
            at_once, tuned = (
                statistics.fmean(seed["rows"][share][when] for seed in seeds) for when in ("at_once", "tuned")
            )
            cells.append(f"{at_once:.1f} / {tuned:.2f}")
        lines.append([name, *cells])
    return table([what, *(f"{share} %" for share in kept)], lines)


def rows_of(rows: Rows, subject: str) -> Rows:
    """Those of one network, without its name."""
    return {n.removeprefix(f"{subject} "): seeds for n, seeds in rows.items() if n.startswith(f"{subject} ")}


def seeds_of(named: Rows) -> str:
    """How many outcomes the means are of."""
    counts = sorted({len(outcomes) for outcomes in named.values()})
    return f"means of {' to '.join(map(str, counts))} seeds"


def criteria_section(rows: Rows, folder: Path) -> str:
    parts = ["## All criteria side by side"]
    parts.append(
        "Test error in percent against the share kept, one threshold for the whole network (chance: the "
        "same share of every layer): at once / after 200 steps of fine-tuning."
    )
    for subject in ("lenet-5", "residual"):
        named = rows_of(rows, subject)
        if named:
            dense = mean(next(iter(named.values())), "dense")
            parts.append(f"### {subject} (dense: {dense:.2f} %; {seeds_of(named)})")
            parts.append(side_by_side(rows, subject, "criterion"))
            plots.criteria_curves(named, folder / f"pruning-criteria-{subject}.svg")
            parts.append(f"![Error against share kept](pruning-criteria-{subject}.svg)")
    return "\n\n".join(parts)


def allocation_section(rows: Rows, folder: Path) -> str:
    parts = ["## How much from where"]
    parts.append(
        "Magnitude under every allocation: test error in percent, at once / after 200 steps. A budget is of MACs: "
        "at 10 % a tenth of them is left, not a tenth of the weights."
    )
    for subject in ("lenet-5", "residual"):
        named = rows_of(rows, subject)
        if named:
            parts += [f"### {subject} ({seeds_of(named)})", side_by_side(rows, subject, "allocation")]
        if named.get("sensitivity"):
            curves = Curves(**named["sensitivity"][0]["curves"])
            write_sensitivity(curves, folder / f"pruning-sensitivity-{subject}.svg")
            parts.append(f"![Loss against the share of one layer removed](pruning-sensitivity-{subject}.svg)")
    return "\n\n".join(parts)


def blocks_section(rows: Rows, folder: Path) -> str:
    timed = any("milliseconds" in row for seeds in rows.values() for row in seeds)
    times = {"milliseconds": "Engine, ms", "int8_milliseconds": "in int8, ms"} if timed else {}
    lines = []
    for name, seeds in rows.items():
        found = [next((row[key] for row in seeds if key in row), None) for key in times]
        cells = [name, f"{mean(seeds, 'kept'):.1f} %", spread(seeds)]
        lines.append([*cells, *("" if time is None else f"{time:.3f}" for time in found)])
    columns = ["pattern and share removed", "kept", "test error", *times.values()]
    text = f"""## Blocks for speed: residual CNN on Fashion-MNIST

Magnitude, one threshold, removed within three epochs; the stem and the last layer stay whole. *a x b*: a neighbouring
outputs of b neighbouring inputs; *1x4 over r*: the Engine's cell of bytes, shared by r outputs.

{table(columns, lines)}"""
    text += timed_on(rows)
    if timed:
        plots.error_and_latency(rows, folder / "pruning-blocks.svg")
        text += "\n\n![Error against the Engine's latency](pruning-blocks.svg)"
    return text


def half_reached(lost: float, faster: Sequence[float]) -> str:
    """The channels' target, in float32 and in int8."""
    if not faster:
        return ""
    precisions = [p for p, ratio in zip(("float32", "int8"), faster, strict=True) if ratio > TIMES_AS_FAST]
    if lost > POINTS_LOST or not precisions:
        return "missed"
    return f"met in {' and '.join(precisions)}"


def channels_section(rows: Rows, folder: Path) -> str:
    del folder
    lines = []
    for name, seeds in rows.items():
        lost = statistics.fmean(row["error"] - row["dense"] for row in seeds)
        share = statistics.fmean(100 * row["macs"] / row["dense_macs"] for row in seeds)
        faster = next(([row["speedup"], row["int8_speedup"]] for row in seeds if "int8_speedup" in row), [])
        cells = [name, f"{share:.1f} %", spread(seeds), f"{lost:+.2f}"]
        lines.append(
            [*cells, *([f"{ratio:.2f}x" for ratio in faster] or ["", ""]), half_reached(lost, faster)]
        )
    columns = ["criterion", "MACs left", "test error", "points lost"]
    columns += ["Engine: times as fast", "in int8", "target"]
    dense = spread(next(iter(rows.values())), "dense")
    text = f"""## Channels: a residual CNN on Fashion-MNIST with half its MACs

The same share of every group's channels is removed from the graph, within a budget of multiply-accumulates; then six
epochs of fine-tuning, or as many as told. Dense: {dense}. *scratch-E* and *scratch-B*: the architecture that Taylor
found, from new weights, for as many epochs and for as much arithmetic as the dense network had (Liu et al. 2019).
*Widths of 8*: multiples of 8, else of 4. Target: at most
{POINTS_LOST} points lost, and more than {TIMES_AS_FAST} times as fast.

{table(columns, lines)}"""
    return text + timed_on(rows)


def timed_on(rows: Rows) -> str:
    """The machines that latencies are of, as a line below a table."""
    found = dict.fromkeys(row["timed_on"] for seeds in rows.values() for row in seeds if "timed_on" in row)
    return f"\n\nLatencies: one thread, {'; '.join(found)}." if found else ""


def heads_section(rows: Rows, folder: Path) -> str:
    del folder
    keys = ("rank_correlation", "tuned_rank_correlation", "same_nearest", "tuned_same_nearest")
    lines = []
    for name, seeds in rows.items():
        values = [mean(seeds, key) for key in keys]
        lines.append([name, *(f"{v:.3f}" for v in values[:2]), *(f"{v:.0f} %" for v in values[2:])])
    texts = next(iter(rows.values()))[0]["texts"]
    columns = ["heads removed", "rank correlation", "tuned", "same nearest text", "tuned"]
    return f"""## Attention heads of a sentence encoder (all-MiniLM-L6-v2)

Of 72 heads in 6 layers, removed from the graph at once under one threshold; *tuned*: then trained for
one epoch towards the whole network's embeddings. Text: {texts:,} sentences of Python's manual, 400 of them
set aside. *Rank correlation* (Spearman): of the similarities of all pairs of those with the whole network's. Taylor's
loss: the first half of a sentence has to find its second half among 32.

{table(columns, lines)}"""


SECTIONS: dict[str, Callable[[Rows, Path], str]] = {
    "lottery": lottery_section,
    "criteria": criteria_section,
    "allocation": allocation_section,
    "blocks": blocks_section,
    "channels": channels_section,
    "heads": heads_section,
}
