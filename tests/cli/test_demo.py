"""The demo, as far as it goes in seconds: where data is looked for, and that the file is served without torch."""

import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gossamer.cli import torchless
from gossamer.cli.demo import find_mnist
from gossamer.errors import InputError

ROOT = Path(__file__).parents[2]


def write_idx(path, values):
    header = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture
def digits(tmp_path):
    """Data in MNIST's form that can be learnt in one epoch: a bright row says the class."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "digits"
    folder.mkdir()
    for name, count in (("train", 6000), ("t10k", 500)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        images[np.arange(count), 2 * labels + 4] = 255
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)
    return folder


def test_where_data_is_looked_for(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GOSSAMER_DATA", raising=False)
    monkeypatch.setattr("gossamer.cli.demo._CHECKOUT", tmp_path / "checkout")
    with pytest.raises(InputError, match=r"data/mnist, .*checkout/data/mnist. Give its folder with --data"):
        find_mnist(None)
    assert find_mnist(digits) == digits
    monkeypatch.setenv("GOSSAMER_DATA", str(digits))
    assert find_mnist(None) == digits
    with pytest.raises(InputError, match="elsewhere"):
        find_mnist(tmp_path / "elsewhere")


@pytest.mark.slow
def test_the_whole_way(digits, tmp_path, monkeypatch, capfd):
    from gossamer.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gossamer", "demo", "--data", str(digits), "--quick", "--json"])
    assert main() == 0
    found = json.loads(capfd.readouterr().out)
    assert found["file_bytes"] == Path("lenet-300-100.goss").stat().st_size
    assert found["compression_rate"] > 40
    assert found["test_images"] == 500
    assert found["error"] < 0.1
    assert found["parameters_kept"] < 0.08 * found["parameters"] == 0.08 * 266_610
    comparison = found["comparison"]
    runtimes = {latency["runtime"] for latency in comparison["original"]["latencies"]}
    assert {"gossamer", "torch eager"} <= runtimes
    assert [stage["name"] for stage in comparison["stages"]] == [
        "Repeat(times=2)",
        "Finetune(epochs=1)",
        "Cluster(bits=5)",
        "Finetune(epochs=1)",
    ]
    assert all(stage["measurement"]["latencies"] for stage in comparison["stages"])
    assert "<html" in Path("report.html").read_text()[:500].lower()


def test_torch_cannot_be_imported_where_the_file_is_served(tmp_path):
    script = (
        "import sys\nfrom gossamer.cli import torchless\nsys.meta_path.insert(0, torchless._Refuse())\n"
        "for name in ('torch', 'torch.nn', 'onnx', 'accelerate'):\n"
        "    try:\n        __import__(name)\n    except ImportError as error:\n        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(Path(torchless.__file__).parents[2])},
    )  # fmt: skip
    assert done.stdout.count("not to be had in this process") == 4
