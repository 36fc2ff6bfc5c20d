"""The race of the Engine against every CPU runtime that installs: ``make bench-engine``, or ``python bench/engine.py``.

Every workload is raced twice, each runtime in a process of its own, alternating in short blocks with a loop that
measures the core's own peak; what is divided is divided block by block. Each result is added to
bench/results/engine.json as soon as it is there, and the page docs/results/engine.md is written from that file:
``--skip`` leaves out what the file has already.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from engine_files import Variant, onnx_file
from engine_footprint import footprint, footprint_section
from engine_networks import NETWORKS
from engine_page import write_page
from engine_peers import ENTRIES, OURS, difference, field_of
from engine_sparsity import Sparsity

from gossamer.errors import UnsupportedError
from gossamer.measure import Finish, Runner, machine, race, speedup
from gossamer.measure.machine import instruction_set

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "out" / "engine"
RESULTS = ROOT / "bench" / "results" / "engine.json"
FOOTPRINT = ROOT / "bench" / "results" / "engine-footprint.json"
PAGES = ROOT / "docs" / "results"
PASSES = 2
FINER = (1, 2)  # rows that share a pattern, beside the usual four
# Where a runtime would choose more than it is allowed: what it calls the instruction set. ONNX Runtime, LiteRT and
# ExecuTorch have no such switch.
SWITCHES = {
    "GOSSAMER_ISA": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OV_CPU_MAX_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "NM_ARCH": "avx2",
}


@dataclass(frozen=True)
class Workload:
    """What is raced at a time."""

    variant: Variant
    threads: int = 1
    avx2: bool = False

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.variant.stem}-t{self.threads}{'-avx2' if self.avx2 else ''}"


def standard() -> list[Variant]:
    """One thread, batch 1: every network and layer in both precisions, and what the targets want with zeros."""
    dense = [Variant(network, precision) for network in NETWORKS for precision in ("int8", "fp32")]
    zeros = {
        "resnet-50": (0.8, 0.9, 0.95),
        "resnet-18": (0.8, 0.9, 0.95),
        "bert": (0.8, 0.9),
        "linear": (0.8, 0.9, 0.95),
    }
    sparse = [
        replace(variant, sparsity=Sparsity(share))
        for variant in dense
        for share in zeros.get(variant.network.name, ())
    ]
    finer = [
        replace(v, sparsity=replace(v.sparsity, rows=rows)) for v in sparse for rows in FINER if _plotted(v)
    ]
    return [*sparse, *finer, *dense]


def _plotted(variant: Variant) -> bool:
    """Whether speed is shown against the shape of blocks too."""
    return (variant.network.name, variant.precision) == ("resnet-18", "int8")


def main(  # noqa: PLR0913 (the options of the command line)
    variants: Annotated[
        list[str] | None, typer.Argument(help="as resnet-18-int8-z90x4; all by default")
    ] = None,
    threads: int = 1,
    batch: int = 1,
    avx2: Annotated[bool, typer.Option(help="hold every runtime that has a switch to AVX2")] = False,
    leave_out: Annotated[list[str] | None, typer.Option(help=", ".join(e.label for e in ENTRIES))] = None,
    skip: Annotated[bool, typer.Option(help="leave out what the results have already")] = False,
    cpu_time: Annotated[bool, typer.Option(help="of the processes, where others use the machine")] = False,
    begin: Annotated[bool, typer.Option(help="measure import and load first")] = True,
    results: Annotated[Path, typer.Option(help="where results are added; the page has their name")] = RESULTS,
) -> None:
    """Race, and write the page."""
    if begin:
        found = footprint(onnx_file(Variant.parse("lenet-5-int8"), OUT), OUT)
        FOOTPRINT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(footprint_section(found), flush=True)
    if avx2:
        os.environ.update(SWITCHES)
    _default_peers()
    chosen = [Variant.parse(stem) for stem in variants] if variants else standard()
    rows = read_rows(results)
    for variant in chosen:
        workload = Workload(replace(variant, batch=batch) if batch > 1 else variant, threads, avx2)
        if skip and workload.key in rows:
            continue
        rows[workload.key] = result_of(workload, OUT, leave_out or (), cpu_time)
        print(summary(rows[workload.key]), flush=True)
        write_rows(rows, results)
    write_page(list(rows.values()), page_of(results), beside(results))


def page_of(results: Path) -> Path:
    """In the docs for results that are committed, beside the others."""
    folder = PAGES if results.parent == RESULTS.parent else results.parent
    return folder / f"{results.stem}.md"


def beside(results: Path) -> list[str]:
    """Sections beside the race's: import and load on this machine, and what was measured on others."""
    if results != RESULTS:
        return []
    footprints = [footprint_section(json.loads(FOOTPRINT.read_text()))] if FOOTPRINT.exists() else []
    others = sorted(path.stem for path in RESULTS.parent.glob(f"{RESULTS.stem}-*.json") if path != FOOTPRINT)
    links = "\n".join(f"- [{name.removeprefix('engine-')}]({name}.md)" for name in others)
    return [*footprints, *([f"## On other machines\n\n{links}"] if links else [])]


def _default_peers() -> None:
    """Interpreters in .peers/, where scripts/peers makes them, unless GOSSAMER_PEERS names others."""
    found = sorted(str(path) for path in (ROOT / ".peers").glob("*/bin/python"))
    os.environ.setdefault("GOSSAMER_PEERS", os.pathsep.join(found))


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Results by key."""
    if not path.exists():
        return {}
    return {row["key"]: row for row in json.loads(path.read_text(encoding="utf-8"))}


def write_rows(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """All results, whole or not at all, a line each."""
    partial = path.with_suffix(".partial")
    lines = ",\n".join(json.dumps(row) for row in rows.values())
    partial.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    partial.replace(path)


def result_of(workload: Workload, folder: Path, leave_out: Sequence[str], cpu_time: bool) -> dict[str, Any]:
    """Race the workload, ``PASSES`` times, with new processes each time."""
    variant = workload.variant
    field = field_of(variant, folder, leave_out)

    def failed(runner: Runner, error: UnsupportedError) -> None:
        field.absent[runner.name] = str(error)

    finishes: list[list[Finish]] = []
    for _ in range(PASSES):
        there = [runner for runner in field.runners if runner.name not in field.absent]
        runners = [replace(runner, cpu_time=cpu_time) for runner in there]
        finishes.append(race(runners, threads=workload.threads, on_failure=failed))
    return {
        "key": workload.key,
        "network": variant.network.name,
        "title": variant.network.title,
        "precision": variant.precision,
        "zeros": variant.sparsity.zeros if variant.sparsity else 0.0,
        "rows": variant.sparsity.rows if variant.sparsity else None,
        "batch": variant.batch,
        "threads": workload.threads,
        "isa": instruction_set(),
        "clock": "processor time" if cpu_time else "time",
        "macs": variant.network.macs * variant.batch,
        "passes": [measured(finish, variant) for finish in finishes],
        "absent": field.absent,
        "difference": agreement(finishes[0]),
        "machine": dataclasses.asdict(machine()),
    }


def measured(finishes: Sequence[Finish], variant: Variant) -> dict[str, dict[str, Any]]:
    """By runtime: milliseconds, share of the core's peak, and how many times as long as ours it took."""
    by_name = {finish.latency.runtime: finish for finish in finishes}
    peak = finishes[0]
    ours = by_name.get(OURS)
    operations = variant.network.macs * variant.batch / float(peak.first.outputs[0])
    table = {}
    for name, finish in by_name.items():
        latency = finish.latency
        row = {key: round(getattr(latency, key), 5) for key in ("median_ms", "low_ms", "high_ms")}
        row["runs"] = latency.runs
        if finish is peak:
            row["gops"] = round(2e-6 * float(peak.first.outputs[0]) / latency.median_ms, 1)
        else:
            row["share"] = round(operations * speedup(peak.latency, latency).median, 4)
            row["ratio"] = round(speedup(latency, ours.latency).median, 3) if ours else None
        table[name] = row
    return table


def agreement(finishes: Sequence[Finish]) -> float | None:
    """How far our output is from ONNX Runtime's on the same file; None where one of them could not run."""
    outputs = {finish.runner.name: finish.first.outputs[0] for finish in finishes}
    if OURS not in outputs or "onnxruntime" not in outputs:
        return None
    return difference(np.asarray(outputs[OURS]), np.asarray(outputs["onnxruntime"]))


def summary(row: dict[str, Any]) -> str:
    """A line for the terminal."""
    first, second = row["passes"][0], row["passes"][-1]
    times = [
        f"{name} {cell['median_ms']:.3f}/{second.get(name, cell)['median_ms']:.3f}"
        for name, cell in first.items()
    ]
    absent = [f"  {name}: {reason}" for name, reason in row["absent"].items()]
    return "\n".join([f"{row['key']}: {', '.join(times)}; difference {row['difference']}", *absent])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    typer.run(main)
