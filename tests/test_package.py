"""The public face: exactly these names, each of them there; and what loading a small file costs."""

import subprocess
import sys
from pathlib import Path

import numpy as np

import gossamer
from gossamer.artifact import Operation, Port, Program, write
from gossamer.weights import Dense

PUBLIC = [
    "Binarize",
    "Blocks",
    "Channels",
    "Cluster",
    "Elements",
    "Engine",
    "Finetune",
    "Heads",
    "Int8",
    "Layers",
    "NM",
    "PerChannel",
    "PerTensor",
    "Prune",
    "Quantize",
    "Repeat",
    "Result",
    "Task",
    "Ternarize",
    "channel_groups",
    "compress",
    "load",
    "load_recipe",
    "metrics",
    "put_back",
    "save",
    "trace",
]


def test_the_public_names():
    assert gossamer.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(gossamer, name) is not None
    assert set(PUBLIC) <= set(dir(gossamer))


SERVING = {
    "gossamer", "_native", "artifact", "artifact.coding", "artifact.describe", "artifact.file", "artifact.layout",
    "artifact.padding", "artifact.positions", "artifact.primer", "artifact.program", "artifact.streams",
    "artifact.structure", "artifact.tensors", "artifact.wire", "engine", "engine.engine", "engine.explanation",
    "engine.lowering", "errors", "weights", "weights._edits", "weights._functions", "weights._representations",
}  # fmt: skip
# Of the standard library and NumPy, beyond what `import numpy` loads: what takes time to load is not among them.
SLOW = {
    "tempfile", "shutil", "random", "json", "base64", "lzma", "bz2", "pathlib", "urllib", "inspect", "ast", "zipfile",
}  # fmt: skip
PROBE = """
import sys, numpy
before = set(sys.modules)
import gossamer
gossamer.Engine(sys.argv[1])
print(*sorted(set(sys.modules) - before))
"""


def test_serving_loads_few_modules(tmp_path):
    ports = Port("x", "float32", ("n", 4)), Port("y", "float32", None)
    gemm = Operation("Gemm", ("x", "w"), ("y",), {}, "g")
    write(
        Program(ports[:1], ports[1:], (gemm,), {"w": Dense(np.ones((4, 3), np.float32))}, {"": 18}),
        tmp_path / "a.goss",
    )
    probe = subprocess.run(
        [sys.executable, "-c", PROBE, tmp_path / "a.goss"], check=True, capture_output=True, text=True
    )
    loaded = set(probe.stdout.split())
    ours = {name.removeprefix("gossamer.") for name in loaded if name.startswith("gossamer")}
    assert ours == SERVING
    assert not loaded & SLOW


def test_the_runtime_part_is_small():
    """The native module and the Python that serving loads: below 5 MB installed."""
    folder = Path(gossamer.__file__).parent
    parts = [folder / "__init__.py", folder / "errors.py", *folder.glob("_native*")]
    parts += [file for name in ("artifact", "engine", "weights") for file in (folder / name).rglob("*.py")]
    assert sum(part.stat().st_size for part in parts) < 5_000_000
