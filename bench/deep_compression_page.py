"""The page docs/results/deep-compression.md, made from the bench's JSON and the paper's figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readme import put


@dataclass(frozen=True)
class PaperLayer:
    """A row of the paper's tables 2 and 3: shares in percent, bits per kept weight and per index."""

    name: str
    kept: float
    weight_bits: float
    weight_bits_coded: float
    index_bits: float
    index_bits_coded: float
    rate: float  # compressed to this share of its float32 size, everything included


@dataclass(frozen=True)
class Paper:
    """What the paper says of a network, and what this bench has to reach."""

    title: str
    original: str
    error: float  # of the baseline and at most of the file, percent
    error_compressed: float
    file: str
    limit_bytes: int
    limit_huffman_bytes: int
    limit_kept: float
    layers: dict[str, PaperLayer]


PAPER = {
    "lenet-300-100": Paper(
        title="LeNet-300-100",
        original="1070 KB",
        error=1.64,
        error_compressed=1.58,
        file="27 KB",
        limit_bytes=22_000,
        limit_huffman_bytes=26_000,
        limit_kept=8.0,
        layers={
            "fc1.weight": PaperLayer("ip1", 8, 6, 4.4, 5, 3.7, 2.32),
            "fc2.weight": PaperLayer("ip2", 9, 6, 4.4, 5, 4.3, 3.04),
            "fc3.weight": PaperLayer("ip3", 26, 6, 4.3, 5, 3.2, 12.70),
        },
    ),
    "lenet-5": Paper(
        title="LeNet-5 (Caffe's)",
        original="1720 KB",
        error=0.80,
        error_compressed=0.74,
        file="44 KB",
        limit_bytes=36_000,
        limit_huffman_bytes=43_000,
        limit_kept=8.0,
        layers={
            "conv1.weight": PaperLayer("conv1", 66, 8, 7.2, 5, 1.5, 67.45),
            "conv2.weight": PaperLayer("conv2", 12, 8, 7.2, 5, 3.9, 5.28),
            "fc1.weight": PaperLayer("ip1", 8, 5, 4.5, 5, 4.5, 2.45),
            "fc2.weight": PaperLayer("ip2", 19, 5, 5.2, 5, 3.7, 6.13),
        },
    ),
}


@dataclass(frozen=True)
class Figure:
    """One row of the table: where it comes from in an outcome, how it is written, what it must not exceed."""

    title: str
    value: Callable[[Mapping[str, Any]], float]
    write: Callable[[float], str]
    limit: Callable[[Paper], float]


def percent(value: float) -> str:
    return f"{value:.2f} %"


def kilobytes(value: float) -> str:
    """1 KB is 1000 bytes, as in the paper."""
    return f"{value / 1000:.1f} KB"


FIGURES = (
    Figure("error of the baseline", lambda o: 100 * o["baseline_error"], percent, lambda p: p.error),
    Figure(
        "**error of the file**, run by the Engine", lambda o: 100 * o["error"], percent, lambda p: p.error
    ),
    Figure("error of the Huffman file", lambda o: 100 * o["huffman_error"], percent, lambda p: p.error),
    Figure("**whole file**, default coder", lambda o: o["bytes"], kilobytes, lambda p: p.limit_bytes),
    Figure("whole file, Huffman", lambda o: o["huffman_bytes"], kilobytes, lambda p: p.limit_huffman_bytes),
    Figure("parameters kept", lambda o: 100 * o["kept"] / o["parameters"], percent, lambda p: p.limit_kept),
)


def write_page(results: Mapping[str, Any], path: Path) -> bool:
    """Write the page; whether every mean is within its limit."""
    outcomes: Mapping[str, Sequence[Mapping[str, Any]]] = results["outcomes"]
    sections = [section(stem, seeds, results["recipes"][stem]) for stem, seeds in outcomes.items()]
    text = "\n\n".join([heading(results), *sections, closing(results)]) + "\n"
    path.write_text(text, encoding="utf-8")
    return all(
        mean(figure, seeds) <= figure.limit(PAPER[stem])
        for stem, seeds in outcomes.items()
        for figure in FIGURES
    )


def write_readme(results: Mapping[str, Any], path: Path) -> None:
    """Put the headline figures between the marks in the README; the rest of it stays as it is."""
    put(path, "deep-compression", headline(results))


def headline(results: Mapping[str, Any]) -> str:
    """The table of the README: means over the seeds, whole files, test errors of the files as the Engine runs them."""
    lines = [
        "| MNIST, mean of the seeds | float32 | file | smaller | error before | error of the file |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for stem, seeds in results["outcomes"].items():
        size = sum(seed["bytes"] for seed in seeds) / len(seeds)
        dense = 4 * seeds[0]["parameters"]
        before, after = (
            100 * sum(seed[key] for seed in seeds) / len(seeds) for key in ("baseline_error", "error")
        )
        lines.append(
            f"| {PAPER[stem].title} | {kilobytes(dense)} | **{kilobytes(size)}** | **{dense / size:.0f}x** "
            f"| {percent(before)} | {percent(after)} |"
        )
    date = results["machine"]["date"][:10]
    seeds = len(next(iter(results["outcomes"].values())))
    lines += [
        "",
        f"`{results['command']}`, {date}, {seeds} seeds, last epoch, the whole file counted; "
        "[all figures](docs/results/deep-compression.md).",
    ]
    return "\n".join(lines)


def mean(figure: Figure, seeds: Sequence[Mapping[str, Any]]) -> float:
    return sum(map(figure.value, seeds)) / len(seeds)


def heading(results: Mapping[str, Any]) -> str:
    counts = sorted({len(seeds) for seeds in results["outcomes"].values()})
    return f"""# Deep Compression, on files that run

Pruning, weight sharing and entropy coding of LeNet-300-100 and LeNet-5 on MNIST, beside the figures of Han,
Mao, Dally: *Deep Compression* (ICLR 2016, tables 1 to 3). Every figure of ours was measured on a `.goss` file,
read back from the disk; errors are those of the native Engine on the 10,000 test images.

- Trained on the first 55,000 training images, shifted at random by at most one pixel (the paper's baselines
  were trained without augmentation); settings were chosen on the other 5,000. Every seed counts as it was after
  its last epoch.
- Mean of {" or ".join(map(str, counts))} seeds, lowest and highest in brackets. 1 KB is 1000 bytes. A file
  holds everything: header, network, biases, code tables.
- Written by `{results["command"]}`; for machines:
  [deep-compression.json](../../bench/results/deep-compression.json)."""


def section(stem: str, seeds: Sequence[Mapping[str, Any]], recipe: Sequence[str]) -> str:
    paper = PAPER[stem]
    parts = [
        f"## {paper.title}",
        figures_table(paper, seeds),
        "### By layer",
        layers_table(paper, min(seeds, key=lambda o: o["seed"])),
        "### Recipe",
        "```\n" + "\n".join(recipe) + "\n```",
    ]
    return "\n\n".join(parts)


def figures_table(paper: Paper, seeds: Sequence[Mapping[str, Any]]) -> str:
    names = " | ".join(f"seed {outcome['seed']}" for outcome in seeds)
    rows = [f"| | mean | {names} | at most |", "| --- |" + " ---: |" * (len(seeds) + 2)]
    for figure in FIGURES:
        values = [figure.value(outcome) for outcome in seeds]
        spread = f"{figure.write(min(values))} to {figure.write(max(values))}"
        each = " | ".join(map(figure.write, values))
        limit = figure.write(figure.limit(paper))
        rows.append(f"| {figure.title} | {figure.write(mean(figure, seeds))} ({spread}) | {each} | {limit} |")
    original = 4 * seeds[0]["parameters"]
    smaller = original * len(seeds) / sum(outcome["bytes"] for outcome in seeds)
    verdict = (
        f"{original:,} bytes of float32 parameters: the file is **{smaller:.0f} times smaller**. The paper: "
        f"{paper.original} to {paper.file}, error {paper.error:.2f} % to {paper.error_compressed:.2f} %."
    )
    return "\n".join([*rows, "", verdict])


def layers_table(paper: Paper, outcome: Mapping[str, Any]) -> str:
    columns = "layer, whose, weights, kept, weight bits, coded, index bits, coded, rate, bytes, default coder"
    rows = [
        f"Seed {outcome['seed']} in the paper's scheme (relative indices with filler zeros, Huffman codes); bits",
        "per weight before and after Huffman coding, after it with what the filler zeros cost (a filler is one value",
        "more, so 32 centroids make 6 bits); *rate*: bytes of the layer over its float32 bytes. Last column: bytes",
        "of the same layer in the default coder.",
        "",
        "| " + columns.replace(", ", " | ") + " |",
        "| --- | --- |" + " ---: |" * 9,
    ]
    default = {layer["name"]: layer["bytes"] for layer in outcome["layers"]}
    for ours in outcome["huffman_layers"]:
        theirs = paper.layers.get(ours["name"])
        if theirs is not None:  # biases are not in the paper's tables
            rows += [our_row(ours, default[ours["name"]]), their_row(theirs)]
    return "\n".join(rows)


def our_row(layer: Mapping[str, Any], default_bytes: int) -> str:
    keys = ("weight_bits", "weight_bits_coded", "index_bits", "index_bits_coded")
    cells = [
        layer["name"],
        "ours",
        f"{layer['elements']:,}",
        f"{100 * layer['kept'] / layer['elements']:.1f} %",
        *(f"{layer[key]:.1f}" for key in keys),
        percent(100 * layer["bytes"] / (4 * layer["elements"])),
        f"{layer['bytes']:,}",
        f"{default_bytes:,}",
    ]
    return "| " + " | ".join(cells) + " |"


def their_row(layer: PaperLayer) -> str:
    bits = (layer.weight_bits, layer.weight_bits_coded, layer.index_bits, layer.index_bits_coded)
    cells = [layer.name, "paper", "", f"{layer.kept:g} %", *(f"{b:.1f}" for b in bits), percent(layer.rate)]
    return "| " + " | ".join(cells) + " | | |"


def closing(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"""## Where it was measured

{machine["cpu"]}, {machine["cores"]} cores, {results["threads"]} threads in training; the Engine's kernels:
{machine["instruction_set"]}. {machine["system"]}; {versions}. {machine["date"]}."""
