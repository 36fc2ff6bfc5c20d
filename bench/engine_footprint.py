"""What it costs to begin: the time from NumPy to a loaded engine, and the bytes that are installed for it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import gossamer
from gossamer import artifact
from gossamer import onnx as gossamer_onnx

REPEATS = 21
# Times of one new process: importing NumPy, then the package, then loading a file.
PROBE = """
import sys, time
began = time.perf_counter()
import numpy
numpy_there = time.perf_counter()
import gossamer
there = time.perf_counter()
gossamer.Engine(sys.argv[1])
print(numpy_there - began, there - numpy_there, time.perf_counter() - there)
"""


def footprint(network: Path, folder: Path) -> dict[str, Any]:
    """Milliseconds (median, quartiles) to import and to load ``network`` as a .goss file, and bytes installed."""
    path = folder / f"{network.stem}.goss"
    artifact.write(gossamer_onnx.load(network), path)
    # Compiled, as pip leaves it: an environment may forbid Python to write what it compiles.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    runs = []
    for _ in range(REPEATS + 1):
        command = [sys.executable, "-c", PROBE, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        runs.append([1e3 * float(seconds) for seconds in done.stdout.split()])
    numpy_ms, import_ms, load_ms = zip(*runs[1:], strict=True)  # the first one compiles
    both = [a + b for a, b in zip(import_ms, load_ms, strict=True)]
    package = Path(gossamer.__file__).parent
    parts = [package / "__init__.py", package / "errors.py"]
    parts += [file for name in ("artifact", "engine", "weights") for file in (package / name).rglob("*.py")]
    return {
        "network": network.stem,
        "file_bytes": path.stat().st_size,
        "runs": REPEATS,
        **{
            f"{name}_ms": [round(q, 2) for q in statistics.quantiles(values, n=4)]
            for name, values in (
                ("numpy", numpy_ms),
                ("import", import_ms),
                ("load", load_ms),
                ("both", both),
            )
        },
        "native_bytes": sum(file.stat().st_size for file in package.glob("_native*")),
        "python_bytes": sum(file.stat().st_size for file in parts),
    }


def footprint_section(found: dict[str, Any]) -> str:
    """The paragraph of the page."""

    def spread(name: str) -> str:
        low, middle, high = found[f"{name}_ms"]
        return f"{middle:.1f} ms ({low:.1f} to {high:.1f})"

    whole = (found["native_bytes"] + found["python_bytes"]) / 1e6
    return f"""## Footprint

A new process, compiled Python, {found["runs"]} times, median and quartiles: `import gossamer` {spread("import")}, \
`Engine("{found["network"]}.goss")` ({found["file_bytes"]:,} bytes) {spread("load")}, together {spread("both")}; \
`import numpy` before them {spread("numpy")}. Target: below 50 ms. Installed for running files: {whole:.2f} MB, of \
which the native module is {found["native_bytes"] / 1e6:.2f} MB. Target: below 5 MB."""
