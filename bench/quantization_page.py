"""The page docs/results/quantization.md, from the JSON that bench/quantization.py writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from readme import put

Row = Mapping[str, Any]


def write_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page; an experiment that was not run is said to be missing."""
    parts = [
        "# Quantization, measured",
        "`make bench-quantization` writes this page. Errors, agreement and similarities are those of the `.goss` file "
        "as the Engine runs it, in integers; nothing is simulated.",
    ]
    for name, (title, text, table) in _SECTIONS.items():
        held = results.get(name, {"rows": []})
        parts.append(f"## {title}")
        parts.append(text)
        parts.append(table(held["rows"]) if held["rows"] else "Not measured yet.")
        if held["rows"]:
            parts.append(_machines(held["rows"]))
    path.write_text("\n\n".join(parts) + "\n")


def name_of(row: Row) -> str:
    """By which a row is known in its table."""
    return next(str(row[key]) for key in ("row", "network", "bits") if key in row)


def _machines(rows: Sequence[Row]) -> str:
    """Where the rows were measured; where not all in one place, which ones where."""
    by_machine: dict[str, list[str]] = {}
    for row in rows:
        by_machine.setdefault(row["machine"], []).append(name_of(row))
    if len(by_machine) == 1:
        return f"Machine: {next(iter(by_machine))}."
    return "\n\n".join(f"Machine of {'; '.join(names)}: {machine}." for machine, names in by_machine.items())


_SHOWN = {
    "float, dense": "float32",
    "int8, 80 % zeros": "80 % of the weights zero in blocks, 8 bits",
    "int8, 90 % zeros": "90 %, 8 bits",
}


def write_readme(results: Mapping[str, Any], path: Path) -> bool:
    """Put the promise's table into the README: sizes beside the ONNX file, of both passes the lower speed-up.

    False, and the README stays, where a row was not measured or there was no OpenVINO to race.
    """
    held = results.get("promise", {"rows": []})
    rows = {row["row"]: row for row in held["rows"]}
    if not all(rows.get(name, {}).get("speedup") for name in _SHOWN):
        return False
    whole = rows["float, dense"]["onnx_bytes"]
    lines = []
    for name, title in _SHOWN.items():
        row = rows[name]
        cells = [
            title,
            f"{row['error']:.2f} %",
            f"{whole / row['bytes']:.1f}x",
            f"{min(row['speedup']):.2g}x",
            str(row["seeds"]),
        ]
        lines.append(cells)
    head = ["residual CNN, Fashion-MNIST", "error", "smaller than the float network's ONNX file"]
    head += ["faster than OpenVINO's int8 of the dense network", "seeds"]
    text = (
        f"{_table(head, lines)}\n\n`make bench-quantization`: one image, one thread, one alternating race; "
        f"{rows['float, dense']['machine']}; [all figures](docs/results/quantization.md)."
    )
    put(path, "promise", text)
    return True


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _number(row: Row, key: str, form: str) -> str:
    return format(row[key], form) if key in row else ""


def _small(rows: Sequence[Row]) -> str:
    head = [
        "network",
        "seeds",
        "float, error %",
        "int8, error %",
        "lost, points (each seed)",
        "float, bytes",
        "int8, bytes",
    ]
    return _table(
        head,
        [
            [
                row["network"],
                str(row["seeds"]),
                f"{row['float']['error']:.2f}",
                f"{row['int8']['error']:.2f}",
                f"{sum(row['lost']) / len(row['lost']):+.3f} ({', '.join(f'{x:+.2f}' for x in row['lost'])})",
                f"{row['float']['bytes']:,}",
                f"{row['int8']['bytes']:,}",
            ]
            for row in rows
        ],
    )


def _low_bits(rows: Sequence[Row]) -> str:
    trained = [row for row in rows if "error" in row]
    table = _table(
        ["", "error, %", "each seed", "file, bytes"],
        [
            [row["row"], _number(row, "error", ".2f"), _each(row), _number(row, "bytes", ",")]
            for row in trained
        ],
    )
    counted = [_counted(row) for row in rows if "error" not in row]
    return "\n\n".join([table, *counted])


def _each(row: Row) -> str:
    return ", ".join(f"{error:.2f}" for error in row.get("errors", [row["error"]]))


def _counted(row: Row) -> str:
    """Signs against float32."""
    others = {name: value for name, value in row.items() if isinstance(value, dict)}
    lines = [["XNOR, gossamer", f"{row['milliseconds']:.1f}", ""]]
    lines += [
        [f"float32, {name}", f"{other['milliseconds']:,.0f}", f"{other['speedup']:.1f}x"]
        for name, other in others.items()
    ]
    signs, floats = row["kernels"]
    text = (
        f"A {row['row']}; weights and the norm's results as signs. The products alone: {signs:.1f} ms with packing "
        f"and in float32 {floats:,.0f} ms, {floats / signs:.1f} times as long; wanted: 15 times. Whole calls:"
    )
    return f"{text}\n\n{_table(['', 'ms', 'XNOR is faster by'], lines)}"


def _integers(rows: Sequence[Row]) -> str:
    head = [
        "network",
        "images",
        "bit-exact",
        "simulated, error %",
        "integers, error %",
        "operations in float",
    ]
    return _table(
        head,
        [
            [
                row["network"],
                f"{row['images']:,}",
                f"{row['exact']:,}",
                f"{row['fake']:.2f}",
                f"{row['integers']:.2f}",
                str(row["floats"]),
            ]
            for row in rows
        ],
    )


def _efficientnet(rows: Sequence[Row]) -> str:
    head = [
        "",
        "agreement with float, %",
        "top-1, %",
        "logits, dB",
        "file, bytes",
        "seconds",
        "peak memory, MB",
    ]
    forms = {
        "agreement": ".0f",
        "accuracy": ".0f",
        "decibels": ".1f",
        "bytes": ",",
        "seconds": ".1f",
        "megabytes": ".0f",
    }
    return _table(
        head, [[row["row"], *(_number(row, key, form) for key, form in forms.items())] for row in rows]
    )


def _minilm(rows: Sequence[Row]) -> str:
    head = ["", "Spearman with float", "file, bytes", "seconds", "peak memory, MB"]
    forms = {"spearman": ".4f", "bytes": ",", "seconds": ".1f", "megabytes": ".0f"}
    return _table(
        head, [[row["row"], *(_number(row, key, form) for key, form in forms.items())] for row in rows]
    )


def _exported(rows: Sequence[Row]) -> str:
    head = [
        "network, recipe, runtime",
        "greatest distance, steps",
        "mean distance, steps",
        "one step",
        "layers alone",
        "greatest distance, integers",
        "integers that differ",
    ]
    forms = {
        "greatest": ".3f",
        "mean": ".4f",
        "step": ".3g",
        "steps": "d",
        "greatest_of_a_step": "d",
        "differing": ".5%",
    }
    return _table(
        head,
        [[_told(row), *(_number(row, key, form) for key, form in forms.items())] for row in rows],
    )


def _told(row: Row) -> str:
    return f"{row['row']}: {row['failure']}" if "failure" in row else str(row["row"])


def _aware(rows: Sequence[Row]) -> str:
    head = [
        "bits of weights and activations",
        "min-max, error %",
        "MSE ranges, error %",
        "trained (LSQ), error %",
        "seeds",
    ]
    found = []
    for row in rows:
        if "error" in row:
            found.append([str(row["bits"]), f"{row['error']:.2f}", "", "", str(row["seeds"])])
        else:
            errors = (_number(row, key, ".2f") for key in ("min-max", "MSE", "QAT"))
            found.append([str(row["bits"]), *errors, str(row.get("seeds", ""))])
    return _table(head, found)


def _promise(rows: Sequence[Row]) -> str:
    head = [
        "",
        "error, %",
        "seeds",
        "file, bytes",
        "of the float network's ONNX file",
        "of its .goss file",
        "one image, ms",
        "speed-up over OpenVINO int8",
    ]
    dense = next((row for row in rows if row["row"] == "float, dense"), {})
    found = []
    for row in rows:
        smaller = [
            f"1/{dense[whole] / row['bytes']:.1f}" if whole in dense and "bytes" in row else ""
            for whole in ("onnx_bytes", "bytes")
        ]
        times = (" / ".join(f"{x:.3g}" for x in row.get(key, ())) for key in ("milliseconds", "speedup"))
        seeds = str(row.get("seeds", ""))
        found.append(
            [row["row"], _number(row, "error", ".2f"), seeds, _number(row, "bytes", ","), *smaller, *times]
        )
    return _table(head, found)


_SECTIONS = {
    "small": (
        "LeNet-5 and a residual network, W8A8 after training",
        "Errors on the 10,000 test images; calibrated on 1,000 training images. Wanted: at most 0.1 point lost.",
        _small,
    ),
    "integers": (
        "Integer-only",
        "`Quantize(integer_only=True)` on the 10,000 test images; the Engine beside the NumPy reference, and the "
        "errors beside those of the simulation. Wanted: all images bit for bit, errors at most 0.05 point apart.",
        _integers,
    ),
    "efficientnet": (
        "EfficientNet-Lite0, pretrained on ImageNet",
        "200 photographs: 100 calibrate, 100 test. Agreement: the same first class as the float network, wanted for "
        "per-channel weights: 93 %. Other tools quantize the same network with the same photographs; the last row is "
        "the time and memory of `Quantize()` and lowering, as theirs are of quantizing.",
        _efficientnet,
    ),
    "minilm": (
        "MiniLM (all-MiniLM-L6-v2)",
        "Cosine similarities of all 12,720 pairs of 160 sentences of Python's language reference: their rank "
        "correlation with those of the float network. Wanted: 0.99 with 8 bits, 0.985 with 4-bit weights. Other tools "
        "quantize the same network with the same 128 sentences; *same clock*: `Quantize()` and lowering, as theirs.",
        _minilm,
    ),
    "export": (
        "The exported ONNX in other runtimes",
        "The same quantized network as a `.goss` file in the Engine and as QDQ ONNX in ONNX Runtime and OpenVINO: how "
        "far their outputs are from ours, in quantization steps of the output (a 255th of its range). Wanted: at most "
        "one. A network amplifies what its layers round differently, so the layers are also compared alone, on the "
        "same integers, each from quantized values to the next. ONNX Runtime rounds convolutions and sums as the "
        "Engine does, to the same bits; functions in float between integers (norms, softmax) differ in their last "
        "bits, and OpenVINO scales its sums otherwise. *Activations in float*: multiplying 4-bit weights, ONNX Runtime "
        'makes the activations 8-bit, unless `session.qdq_matmulnbits_accuracy_level` says "1".',
        _exported,
    ),
    "low bits": (
        "One and two bits, powers of two, fixed point",
        "Errors on MNIST's 10,000 test images, means of the seeds. Wanted: BinaryConnect at most 1.3 %, TWN 0.7 %, "
        "TTQ 0.6 %. *By chance*, BinaryConnect: what ships are the signs of weights that trained with drawn ones; the "
        "paper's 1.18 % is of the real weights. *<2, 6>*: two bits before and six behind the point, all weights (Gupta "
        "2015).",
        _low_bits,
    ),
    "qat": (
        "Quantization-aware training",
        "A network of depthwise separable convolutions on Fashion-MNIST: after training (post-training, two kinds of "
        "ranges) and trained again with learned scales. Wanted: 4 bits within 1 point of float.",
        _aware,
    ),
    "promise": (
        "End to end: zeros in blocks and 8 bits",
        "A residual network of 64 to 256 channels on Fashion-MNIST (2.8 million weights); zeros in "
        "the Engine's block pattern, 8 bits, trained. Wanted: at "
        "most 0.5 (80 %) and 1.0 (90 %) points lost, 2 and 3 times as fast as OpenVINO's int8 of the dense network, a "
        "file a twentieth of the float network's (as ONNX; its `.goss` file is entropy-coded already). One thread, "
        "medians of one alternating race, which is run twice.",
        _promise,
    ),
}
