"""Damaged graphs: the engine runs them or refuses them, and never crashes, hangs or eats the machine's memory."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gossamer.artifact import Operation, Port, Program
from gossamer.engine import Engine
from gossamer.errors import FormatError
from gossamer.weights import Dense


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


@pytest.mark.parametrize("sizes", [(2**63 - 1, 4), (-1, 5), (-(2**63), 4), (5, -1), (4,), (2, 1, 1)])
def test_parts_that_do_not_add_up(sizes):
    program = Program(
        (Port("x", "float32", (4, 3)),),
        (Port("a", "float32", None), Port("b", "float32", None)),
        (Operation("Split", ("x", "sizes"), ("a", "b"), {"axis": 0}, "n"),),
        {"sizes": Dense(np.array(sizes, np.int64))},
        {"": 18},
    )
    with pytest.raises(FormatError, match="the parts do not add up to the dimension"):
        Engine(program)


def test_a_block_larger_than_any_tensor():
    """One scale for each column, whatever the block's size beyond the rows."""
    program = Program(
        (Port("x", "float32", (4, 3)),),
        (Port("y", "uint8", None),),
        (
            Operation("QuantizeLinear", ("x", "s"), ("q",), {"axis": 0, "block_size": 2**63 - 1}, "q"),
            Operation("DequantizeLinear", ("q", "s"), ("y",), {"axis": 0, "block_size": 2**63 - 1}, "d"),
        ),
        {"s": Dense(np.full((1, 3), 0.5, np.float32))},
        {"": 21},
    )
    np.testing.assert_array_equal(Engine(program)(np.full((4, 3), 3.2, np.float32)), np.full((4, 3), 3.0))


def test_products_of_integers_wrap_around():
    x = np.array([-(2**31) + 1, -5, 7], np.int32)
    program = Program(
        (Port("x", "int32", (3,)),),
        (Port("y", "int32", None),),
        (Operation("PRelu", ("x", "slope"), ("y",), {}, "n"),),
        {"slope": Dense(np.array([2**31 - 1, -3, 2], np.int32))},
        {"": 16},
    )
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(
            Engine(program)(x), np.where(x < 0, x * np.int32([2**31 - 1, -3, 2]), x)
        )
