"""The page docs/results/engine.md (of another machine: engine-NAME.md) and its plot, made from the race's results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_plot import write_plot

OURS, PEAK = "gossamer", "peak "
HELD = ("openvino", "torch")  # what can be held to AVX2: the others' switches are missing or change nothing
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """A line of the table of targets: how many times as fast as the best peer, on each of ``keys``."""

    title: str
    keys: tuple[str, ...]
    factor: float


def _each(names: str, kind: str, suffix: str = "-t1") -> tuple[str, ...]:
    return tuple(f"{name}-{kind}{suffix}" for name in names.split())


RESNETS, TINY = "resnet-50 resnet-18", "lenet-5 lenet-300-100"
TARGETS = (
    Target("ResNet-50, ResNet-18 sparse int8, 80 % zeros", _each(RESNETS, "int8-z80x4"), 2.5),
    Target("ResNet-50, ResNet-18 sparse int8, 90 % zeros", _each(RESNETS, "int8-z90x4"), 4.0),
    Target("the same in fp32, 80 %", _each(RESNETS, "fp32-z80x4"), 2.0),
    Target("the same in fp32, 90 %", _each(RESNETS, "fp32-z90x4"), 3.0),
    Target("BERT 6 x 384 sparse int8, 80 %", _each("bert", "int8-z80x4"), 1.8),
    Target("ResNet-50, ResNet-18, VGG-16 dense int8", _each(f"{RESNETS} vgg-16", "int8"), 0.95),
    Target("LeNet-5, LeNet-300-100 dense int8", _each(TINY, "int8"), 1.5),
    Target("MobileNetV2 dense int8", _each("mobilenet-v2", "int8"), 1.2),
    Target("MobileNetV2 dense fp32", _each("mobilenet-v2", "fp32"), 1.2),
    Target("ResNet-18 dense fp32", _each("resnet-18", "fp32"), 1.4),
    Target("VGG-16 dense fp32", _each("vgg-16", "fp32"), 1.1),
    Target("BERT 6 x 384 int8", _each("bert", "int8"), 1.1),
    Target("BERT 6 x 384 fp32", _each("bert", "fp32"), 1.1),
    Target(
        "AVX2 forced: ResNet-50, ResNet-18, VGG-16 dense int8",
        _each(f"{RESNETS} vgg-16", "int8", "-t1-avx2"),
        0.8,
    ),
)


def write_page(rows: Sequence[Row], path: Path, beside: Sequence[str] = ()) -> None:
    """Write the page, with the sections ``beside`` the race's, and the plot next to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [HEADING.format(results=f"{path.stem}.json"), targets_table({row["key"]: row for row in rows})]
    plot = path.with_name(f"{path.stem}-sparsity.svg")
    if write_plot(rows, plot):
        parts += [f"## Speed against zeros and block shape\n\n{PLOT.format(plot=plot.name)}"]
    for title, chosen in sections(rows):
        parts += [f"## {title}", results_table(chosen)]
    parts += [*beside, absences(rows), differences(rows), machines(rows)]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


HEADING = """# The Engine against every CPU runtime that installs

Written by `make bench-engine` from [{results}](../../bench/results/{results}). Weights are random, biases too;
batch norms are folded; every shape is fixed. int8: ONNX Runtime and ours run one QDQ file (activations uint8, weights
int8 per channel); every other runtime gets what its own quantizer makes of the float network (OpenVINO that of NNCF,
and the QDQ file). Zeros: random blocks of 4 input channels of a tap, the pattern shared by the given number of output
channels, in all convolutions but the first (in all linear layers where there are no convolutions); the float weights
are pruned before they are quantized.

- Each runtime runs in a process of its own; they alternate in 20 short blocks. A time is the median of at least 40
  runs, a ratio the median of the blocks' ratios; everything is raced twice, in new processes; both figures are given.
- *of peak*: operations of the dense network by second, over what a loop of multiply-accumulates in registers does in
  the same rotation. Above 100 % the zeros, or a transform such as Winograd's, save work.
- *ratio*: the peer's time over ours. Above 1, ours is faster.
- *processor time*: measured while others used the machine, by the clock of the runtime's own process."""

PLOT = """![Speed against zeros, by block shape]({plot})

Dense-equivalent speed of one thread at batch 1; in brackets how many output channels share a pattern of 1x4 blocks."""


def targets_table(rows: Mapping[str, Row]) -> str:
    lines = [
        "## Targets",
        "One thread, batch 1, against the best peer in the same run; of each network the lower ratio of both passes.",
        "",
        "| workload | target | reached | |",
        "| --- | ---: | ---: | --- |",
    ]
    for target in TARGETS:
        ratios = [lowest_ratio(rows[key]) if key in rows else None for key in target.keys]
        measured = [ratio for ratio in ratios if ratio is not None]
        verdict = "not measured"
        if measured and min(measured) < target.factor:
            verdict = "**missed**"
        elif measured == ratios:
            verdict = "met"
        each = " / ".join("not measured" if ratio is None else f"{ratio:.2f}x" for ratio in ratios)
        lines.append(f"| {target.title} | {target.factor:g}x | {each} | {verdict} |")
    return "\n".join(lines)


def peers_of(table: Row) -> dict[str, Row]:
    return {name: cell for name, cell in table.items() if name != OURS and not name.startswith(PEAK)}


def lowest_ratio(row: Row) -> float | None:
    """The best peer's time over ours, in the worse of the passes; None where ours could not run."""
    chosen = HELD if row["key"].endswith("-avx2") else ""
    peers = [peers_of(table).items() for table in row["passes"]]
    ratios = [cell["ratio"] for table in peers for name, cell in table if name.startswith(chosen)]
    return min(ratios) if ratios and None not in ratios else None


def sections(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows by threads, batch and instruction set, the plain ones first."""
    groups: dict[tuple[bool, int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["key"].endswith("-avx2"), row["threads"], row["batch"]), []).append(row)
    titled = []
    for (avx2, threads, batch), chosen in sorted(groups.items(), key=lambda group: group[0]):
        title = (
            f"{threads} thread{'s' if threads > 1 else ''}, batch {batch}{', held to AVX2' if avx2 else ''}"
        )
        titled.append((title, sorted(chosen, key=lambda row: (row["precision"], row["zeros"] > 0))))
    return titled


def results_table(rows: Sequence[Row]) -> str:
    lines = [
        "| workload | runtime | ms | quartiles | of peak | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        lines += workload_lines(row)
    return "\n".join(lines)


def workload_lines(row: Row) -> list[str]:
    """A line for each runtime, fastest first; the peak's own speed beside the workload's name."""
    first, second = row["passes"][0], row["passes"][-1]
    peak = " / ".join(
        f"{table[name]['gops']:.0f}" for table in (first, second) for name in table if name.startswith(PEAK)
    )
    named = {name: cell for name, cell in first.items() if not name.startswith(PEAK)}
    lines = [f"| **{workload_title(row)}** | peak, GOP/s: {peak} | | | | |"]
    for name in sorted(named, key=lambda name: named[name]["median_ms"]):
        both = [table[name] for table in (first, second) if name in table]
        ratio = (
            ""
            if name == OURS
            else " / ".join(f"{cell['ratio']:.2f}" for cell in both if cell["ratio"] is not None)
        )
        cells = [
            "",
            f"**{name}**" if name == OURS else name,
            " / ".join(milliseconds(cell["median_ms"]) for cell in both),
            " / ".join(f"{milliseconds(cell['low_ms'])} to {milliseconds(cell['high_ms'])}" for cell in both),
            " / ".join(f"{100 * cell['share']:.0f} %" for cell in both),
            ratio,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def workload_title(row: Row) -> str:
    zeros = f", {100 * row['zeros']:.0f} % zeros in 1x4 over {row['rows']}" if row["zeros"] else ""
    clock = ", processor time" if row["clock"] == "processor time" else ""
    return f"{row['title']} {row['precision']}{zeros}{clock}"


def milliseconds(value: float) -> str:
    """Three figures."""
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{digits}f}"


def absences(rows: Sequence[Row]) -> str:
    """Who did not take part, by name, with the reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, reason in row["absent"].items():
            found.setdefault((name, reason), []).append(row["key"])
    lines = [f"- **{name}**, {', '.join(keys)}: {reason}" for (name, reason), keys in sorted(found.items())]
    return "\n".join(["## Who did not take part", "", *(lines or ["Everybody did."]), "", NOT_RACED])


NOT_RACED = """Not raced at all: torch in int8 (its float figures stand); LiteRT, ExecuTorch and torch on networks with
zeros (none of them skips a zero: their dense figures stand). ONNX Runtime, LiteRT and ExecuTorch cannot be held to
AVX2: in those tables they run with all that the machine has. DeepSparse takes part where it runs at least 90 % of the
operators itself (`fraction_of_supported_ops`); its int8 is the ConvInteger form of its own exporter."""


def differences(rows: Sequence[Row]) -> str:
    """How far our outputs are from ONNX Runtime's, on the same file and input."""
    lines = [
        "## Agreement with ONNX Runtime",
        "Largest difference of an output, relative to the largest output, on the same file and input. In int8 a",
        "difference of one step somewhere inside a network spreads; 1/255 = 0.4 % is one step of an 8-bit output.",
        "",
        "| workload | difference |",
        "| --- | ---: |",
    ]
    for row in rows:
        if row["threads"] == 1 and row["batch"] == 1:
            value = "" if row["difference"] is None else f"{row['difference']:.1e}"
            lines.append(f"| {row['key']} | {value} |")
    return "\n".join(lines)


def machines(rows: Sequence[Row]) -> str:
    """Each machine and set of versions once, with its dates."""
    found: dict[str, list[str]] = {}
    for row in rows:
        machine = row["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        text = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {versions}"
        found.setdefault(text, []).append(machine["date"][:10])
    lines = [
        f"- {text}. {' to '.join(dict.fromkeys((min(dates), max(dates))))}." for text, dates in found.items()
    ]
    return "\n".join(["## Where it was measured", "", *lines])
