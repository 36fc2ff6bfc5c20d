"""Every row of the kernel tables that a network reaches: what its steps take on each instruction set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from engine_files import Variant, onnx_file

from gossamer import Engine, _native

NETWORKS = (
    "lenet-5-int8",
    "lenet-300-100-fp32",
    "mobilenet-v2-int8",
    "mobilenet-v2-fp32",
    "resnet-18-int8-z90x4",
    "resnet-18-fp32",
    "bert-int8",
    "bert-fp32",
    "bert-fp32-z90x4",
)
RUNS = 5


def table_rows(
    folder: Path, special: Iterator[tuple[str, Any, np.ndarray[Any, Any]]]
) -> list[dict[str, Any]]:
    """By kernel: the network in which its steps take longest, and their milliseconds by instruction set.

    ``special``: further networks, (name, what an Engine takes, input), for kernels that the others do not reach.
    """
    cases = [
        (stem, onnx_file(variant, folder), variant.inputs())
        for stem in NETWORKS
        if (variant := Variant.parse(stem))
    ]
    found: dict[str, dict[str, Any]] = {}
    for name, network, x in (*cases, *special):
        times: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for isa in _native.machine_isas():
            for step in Engine(network, isa=isa, threads=1).explain(x, runs=RUNS):
                family, _, row = step.kernel.split(" ")[-1].partition("/")
                if row:
                    times[family][isa] += 1e-3 * (step.microseconds or 0.0)
        for family, by_isa in times.items():
            if by_isa.get("portable", 0.0) > found.get(family, {}).get("milliseconds", {}).get(
                "portable", -1.0
            ):
                found[family] = {"kernel": family, "network": name, "milliseconds": dict(by_isa)}
    return sorted(found.values(), key=lambda each: str(each["kernel"]))


def table_section(rows: list[dict[str, Any]]) -> str:
    """The page's."""
    isas = [
        isa
        for isa in ("portable", "avx2", "avx512", "avx512vnni")
        if any(isa in r["milliseconds"] for r in rows)
    ]
    lines = [
        "## Every kernel on every instruction set",
        "",
        "All steps of one network that a kernel computes, in milliseconds, the whole engine held to one instruction "
        "set (whose tables may have no row of their own: the next lower one is taken then).",
        "",
        f"| kernel | in | {' | '.join(isas)} | slowest / fastest |",
        f"| --- | --- |{' ---: |' * (len(isas) + 1)}",
    ]
    for each in rows:
        times = each["milliseconds"]
        cells = [f"{times[isa]:.3g}" if isa in times else "" for isa in isas]
        gain = max(times.values()) / max(min(times.values()), 1e-9)
        lines.append(f"| {each['kernel']} | {each['network']} | {' | '.join(cells)} | {gain:.1f}x |")
    reached = {each["kernel"] for each in rows}
    others = sorted({name.split("/")[0] for name, _ in _native.kernel_rows()} - reached)
    lines += ["", f"Parts of other kernels' steps, or not reached by these networks: {', '.join(others)}."]
    return "\n".join(lines)
