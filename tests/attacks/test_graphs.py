"""Damaged graphs: the engine runs them or refuses them, and never crashes, hangs or eats the machine's memory."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_graphs(seed):
    command = [
        sys.executable,
        str(Path(__file__).parent / "graph_fuzz.py"),
        "--seed",
        str(seed),
        "--runs",
        "1500",
        "--gigabytes",
        "4",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = ast.literal_eval(done.stdout.splitlines()[-1])
    assert set(found) <= {"runs", "FormatError", "UnsupportedError", "InputError", "MemoryError"}
    assert sum(found.values()) == 1500 and found["runs"] > 100 and found["FormatError"] > 100
