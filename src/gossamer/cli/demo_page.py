"""What the demo prints: before and after beside the paper's figures, the race, and the layers of the file."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from gossamer.cli.demo import DemoResult
from gossamer.cli.inspect import Inspection
from gossamer.cli.output import ABSENT, count, milliseconds, percent, table
from gossamer.measure import Gossamer, Latency, speedup

# LeNet-300-100 in Han, Mao, Dally 2016, tables 1 and 2.
_PAPER_ERROR, _PAPER_FILE = ("1.64 %", "1.58 %"), ("1070 KB", "27 KB")
_PAPER_RATE, _PAPER_KEPT = "40×", "8 %"


def show(found: DemoResult, console: Console) -> None:
    """The summary, the race, the layers, and where everything is."""
    console.print(_summary(found))
    console.print(_race(found))
    console.print(Inspection(Path(found.file)).as_tables(program=False, width=console.width))
    console.print(
        f"The {count(found.test_images)} test images were classified in {found.seconds_without_torch:.2f} s by "
        "a process in which torch cannot be imported."
    )
    console.print(f"file: {found.file}   report: {found.report}", markup=False)


def _summary(found: DemoResult) -> Table:
    before, after = found.comparison.original, found.comparison.final
    rate = f"{found.comparison.compression_rate:.1f}×"
    rows = [
        ["test error", f"{100 * found.error_original:.2f} %", f"{100 * found.error:.2f} %", *_PAPER_ERROR],
        ["file, bytes", count(before.file_bytes), count(after.file_bytes), *_PAPER_FILE],
        ["smaller", "", rate, "", _PAPER_RATE],
        ["weights kept", "100 %", percent(after.parameters_kept, before.parameters), "", _PAPER_KEPT],
        ["MACs executed", count(before.macs_executed), count(after.macs_executed), ABSENT, ABSENT],
    ]
    columns = ("LeNet-300-100 on MNIST", "before", "after", "paper: before", "after")
    return table("Deep Compression", columns, rows)


def _race(found: DemoResult) -> Table:
    measured = found.comparison
    lanes = [("original", each) for each in measured.original.latencies]
    lanes += [("compressed", each) for each in measured.final.latencies]
    ours = next(each for each in measured.final.latencies if each.runtime == Gossamer.name)
    rows = [_lane(network, latency, ours) for network, latency in lanes]
    title = f"batch {ours.batch}, {ours.threads} thread, one alternating run"
    return table(title, ("network", "runtime", "median ms", "quartiles", "gossamer is faster by"), rows)


def _lane(network: str, latency: Latency, ours: Latency) -> list[str]:
    return [
        network,
        latency.runtime,
        milliseconds(latency.median_ms),
        f"{milliseconds(latency.low_ms)} to {milliseconds(latency.high_ms)}",
        "" if latency is ours else f"{speedup(latency, ours).median:.2f}×",
    ]
