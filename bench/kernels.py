"""Why the Engine computes as it does: one way against another, one thread, by turns: ``python bench/kernels.py``.

Writes bench/results/kernels.json and docs/results/kernels.md, to which docs/kernels.md refers.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from kernels_rows import table_rows, table_section

from gossamer import Engine
from gossamer.artifact import Operation, Port, Program
from gossamer.measure import machine
from gossamer.weights import Dense

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "bench" / "results" / "kernels.json", ROOT / "docs" / "results" / "kernels.md"
ROUNDS, LEAST_SECONDS = 9, 0.01

SIGNS = [1024, 2048, 4096]
# channels in and out, side, kernel, groups
LARGE = [
    (64, 64, 56, 9, 64),
    (64, 64, 56, 13, 64),
    (64, 64, 56, 17, 64),
    (64, 64, 56, 5, 1),
    (128, 128, 28, 5, 1),
    (16, 16, 64, 7, 1),
    (8, 16, 64, 9, 1),
    (3, 64, 224, 11, 1),
]
ROUNDED = [(784, 768, 3072)]  # rows, inputs, outputs
# channels in, expanded and out, side, stride, strips: MobileNetV2's inverted bottlenecks
BLOCKS = [
    (16, 96, 24, 112, 2, 14),
    (24, 144, 24, 56, 1, 14),
    (32, 192, 32, 28, 1, 7),
    (64, 384, 64, 14, 1, 2),
]


@dataclass(frozen=True)
class Row:
    """Milliseconds of two ways by turns; ``ratio``: the second's over the first's, median of the turns."""

    table: str
    case: str
    ways: tuple[str, str]
    milliseconds: tuple[float, float]
    ratio: float


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def program(
    shape: tuple[int, ...], operations: list[tuple[Any, ...]], weights: dict[str, np.ndarray]
) -> Program:
    """From "x" to "y"; ``operations``: operator, inputs, output, attributes."""
    named = [
        Operation(op, tuple(read), (to,), more, f"n{i}") for i, (op, read, to, more) in enumerate(operations)
    ]
    stored = {name: Dense(value) for name, value in weights.items()}
    return Program(
        (Port("x", "float32", shape),), (Port("y", "float32", None),), tuple(named), stored, {"": 18}
    )


def turn(run: Callable[[], object]) -> float:
    """Seconds of a run: the mean over a turn."""
    count, began = 0, time.perf_counter()
    while True:
        run()
        count += 1
        if (spent := time.perf_counter() - began) >= LEAST_SECONDS:
            return spent / count


def row(table: str, case: str, ways: dict[str, Callable[[], object]]) -> Row:
    first, second = ways.values()
    for run in (first, second):
        run()
    turns = [(turn(first), turn(second)) for _ in range(ROUNDS)]
    medians = [1e3 * statistics.median(each) for each in zip(*turns, strict=True)]
    ratio = statistics.median(b / a for a, b in turns)
    return Row(table, case, tuple(ways), (medians[0], medians[1]), ratio)


def on(engine: Engine, x: np.ndarray, times: int = 1) -> Callable[[], object]:
    def run() -> None:
        for _ in range(times):
            engine(x)

    return run


def signs(size: int) -> Row:
    x, w = floats(size, size), np.sign(floats(size, size))
    scalars = {"zero": np.float32(0), "one": np.float32(1), "minus": np.float32(-1)}
    choice = [
        ("GreaterOrEqual", ["x", "zero"], "positive", {}),
        ("Where", ["positive", "one", "minus"], "signs", {}),
        ("MatMul", ["signs", "w"], "y", {}),
    ]
    bits = Engine(program(x.shape, choice, {"w": w, **{n: np.asarray(s) for n, s in scalars.items()}}))
    whole = Engine(program(x.shape, [("MatMul", ["x", "w"], "y", {})], {"w": w}))
    assert any(step.kernel.startswith("xnor") for step in bits.explain(x))
    return row("signs", f"{size} x {size} x {size}", {"bits": on(bits, x), "float32": on(whole, x)})


def forced(net: Program, x: np.ndarray, method: str) -> Engine | None:
    """An Engine that takes ``method``: the kept answer to what autotuning asks is set to it. None where it asks nothing
    or ``method`` is no candidate, because its estimate is far from the best.
    """
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, XDG_CACHE_HOME=folder):
        Engine(net, autotune=True).explain(x)
        choices = Path(folder) / "gossamer" / "choices.txt"
        if not choices.exists():
            return None
        head, *lines = choices.read_text().splitlines()
        answered = [f"{line.rpartition(chr(9))[0]}\t{method}" for line in lines]
        choices.write_text("\n".join([head, *answered]) + "\n")
        engine = Engine(net, autotune=True)
        return engine if engine.explain(x)[0].kernel.startswith(f"{method}/") else None


def large(channels: int, outputs: int, side: int, kernel: int, groups: int) -> Row | None:
    """``fft`` against the method that is next; None where one of them is not weighed."""
    x, w = floats(1, channels, side, side), floats(outputs, channels // groups, kernel, kernel)
    attributes = {"pads": (kernel // 2,) * 4, "group": groups}
    net = program(x.shape, [("Conv", ["x", "w"], "y", attributes)], {"w": w})
    other = "depthwise" if groups > 1 else "direct"
    engines = {method: forced(net, x, method) for method in ("fft", other)}
    ways = {method: on(engine, x) for method, engine in engines.items() if engine is not None}
    case = f"{channels} to {outputs}, {side}x{side}, {kernel}x{kernel}" + (
        ", depthwise" if groups > 1 else ""
    )
    if len(ways) < 2:
        print(f"{case}: only {', '.join(ways) or 'nothing'} is weighed, left out")
        return None
    return row("large kernels", case, ways)


def rounded(rows: int, inputs: int, outputs: int) -> Row:
    x, net = (
        floats(rows, inputs),
        program((rows, inputs), [("MatMul", ["x", "w"], "y", {})], {"w": floats(inputs, outputs)}),
    )
    ways = {p: on(Engine(net, precision=p), x) for p in ("bf16", "float32")}
    return row("bfloat16", f"{rows} rows, {inputs} to {outputs}", ways)


def block(
    channels: int, middle: int, outputs: int, height: int, side: int, stride: int
) -> tuple[Engine, np.ndarray]:
    """Pointwise, depthwise, pointwise on an image of ``height`` rows."""
    weights = {
        "a": floats(middle, channels, 1, 1),
        "d": floats(middle, 1, 3, 3),
        "b": floats(outputs, middle, 1, 1),
    }
    operations = [
        ("Conv", ["x", "a"], "m", {}),
        ("Relu", ["m"], "n", {}),
        ("Conv", ["n", "d"], "o", {"group": middle, "pads": (1, 1, 1, 1), "strides": (stride, stride)}),
        ("Relu", ["o"], "p", {}),
        ("Conv", ["p", "b"], "y", {}),
    ]
    x = floats(1, channels, height, side)
    return Engine(program(x.shape, operations, weights)), x


def strips(channels: int, middle: int, outputs: int, side: int, stride: int, count: int) -> Row:
    """A block on the whole image, and on as many strips of it; the rows that strips compute twice are left out."""
    ways = {
        "whole": on(*block(channels, middle, outputs, side, side, stride)),
        f"{count} strips": on(*block(channels, middle, outputs, side // count, side, stride), count),
    }
    case = f"{channels}, {middle}, {outputs} channels, {side}x{side}, stride {stride}"
    return row("strips", case, ways)


HEADS = {
    "signs": "Networks of signs: bits counted, against the same product in float32",
    "large kernels": "Large kernels: by Fourier transforms, against the next method",
    "bfloat16": "Linear layers in bfloat16, against float32",
    "strips": "What strips that stay in the second cache bring to depthwise and pointwise convolutions",
}


def special() -> Iterator[tuple[str, Program, np.ndarray]]:
    """Networks for kernels that those of the race do not reach."""
    x, w = floats(1, 64, 56, 56), floats(64, 64, 5, 5)
    yield (
        "5x5 convolution",
        program(x.shape, [("Conv", ["x", "w"], "y", {"pads": (2, 2, 2, 2)})], {"w": w}),
        x,
    )
    up = [("ConvTranspose", ["x", "w"], "y", {"strides": (2, 2)})]
    yield "transposed convolution", program(x.shape, up, {"w": floats(64, 32, 4, 4)}), x
    few = [
        ("GlobalAveragePool", ["x"], "m", {}),
        ("Sub", ["x", "m"], "d", {}),
        ("Softmax", ["d"], "y", {"axis": -1}),
    ]
    yield "softmax", program(x.shape, few, {}), x
    pools = [
        ("MaxPool", ["x"], "m", {"kernel_shape": (3, 3), "strides": (2, 2)}),
        ("InstanceNormalization", ["m", "s", "b"], "y", {}),
    ]
    yield "pool and norm", program(x.shape, pools, {"s": floats(64), "b": floats(64)}), x


def page(found: dict[str, Any]) -> str:
    lines = [
        "# One way against another",
        "",
        "Written by `python bench/kernels.py` from [kernels.json](../../bench/results/kernels.json): one thread,",
        f"both ways by turns, medians. {found['machine']}",
        "",
        table_section(found["kernels"]),
    ]
    for table, head in HEADS.items():
        lines += [
            "",
            f"## {head}",
            "",
            "| | first way | ms | second way | ms | ratio |",
            "| --- | --- | ---: | --- | ---: | ---: |",
        ]
        for each in (r for r in found["rows"] if r["table"] == table):
            (a, b), (first, second) = each["ways"], each["milliseconds"]
            lines.append(f"| {each['case']} | {a} | {first:.3g} | {b} | {second:.3g} | {each['ratio']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    rows = [signs(size) for size in SIGNS]
    rows += filter(None, (large(*case) for case in LARGE))
    rows += [rounded(*case) for case in ROUNDED] + [strips(*case) for case in BLOCKS]
    here = machine()
    found = {
        "machine": f"{here.cpu}, {here.instruction_set}, {here.date[:10]}.",
        "rows": [asdict(each) for each in rows],
        "kernels": table_rows(ROOT / "bench" / "out" / "engine", special()),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
