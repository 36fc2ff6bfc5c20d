"""Plans: fusion, memory that is used again, nothing allocated while running, many threads, bounded caches."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from engine_programs import floats, program, pruned, shared

from gossamer import _native, artifact
from gossamer.engine import Engine
from gossamer.engine.lowering import native_model

HERE = Path(__file__).parent


def convolutional(change=lambda w: w):
    """Convolutions with batch normalization and a residual, pooling, two linear layers, a softmax; 16 x 16 images."""
    weights = {
        "w0": floats(1, 8, 3, 3, 3) / 5, "w1": floats(2, 8, 8, 3, 3) / 8, "w2": change(floats(3, 128, 30) / 11),
        "w3": change(floats(4, 10, 30) / 5), "b": floats(5, 30), "scale": floats(6, 8), "shift": floats(7, 8),
        "mean": floats(8, 8), "var": floats(9, 8) ** 2, "axes": np.array([2, 3]), "shape": np.array([0, -1]),
    }  # fmt: skip
    pads = {"pads": (1, 1, 1, 1)}
    return program(
        {"x": ("batch", 3, 16, 16)},
        [
            ("Conv", ["x", "w0"], ["c0"], pads),
            ("BatchNormalization", ["c0", "scale", "shift", "mean", "var"], ["n0"]),
            ("Relu", ["n0"], ["r0"]), ("Conv", ["r0", "w1"], ["c1"], pads), ("Add", ["c1", "r0"], ["s"]),
            ("Relu", ["s"], ["r1"]),
            ("MaxPool", ["r1"], ["p"], {"kernel_shape": (4, 4), "strides": (4, 4)}), ("Reshape", ["p", "shape"], ["f"]),
            ("MatMul", ["f", "w2"], ["m"]), ("Add", ["m", "b"], ["a"]), ("Relu", ["a"], ["h"]),
            ("Gemm", ["h", "w3"], ["g"], {"transB": 1}), ("Softmax", ["g"], ["y"]),
            ("ReduceMean", ["c1", "axes"], ["extra"]),
        ],
        ["y"], weights,
    )  # fmt: skip


def test_what_is_fused():
    steps = Engine(convolutional()).explain()
    assert [step.operator for step in steps] == [
        "Conv+Relu",
        "Conv+Add+Relu",
        "MaxPool",
        "MatMul+Add+Relu",
        "Gemm",
        "Softmax",
    ]
    assert steps[0].macs == 8 * 256 * 27
    assert steps[1].inputs == ((1, 8, 16, 16), (1, 8, 16, 16))
    assert all(not step.note for step in steps)


def test_what_something_else_reads_is_not_fused_away():
    net = program(
        {"x": ("n", 4)},
        [("Gemm", "xw", "h"), ("Relu", "h", "y"), ("Neg", "h", "z")],
        "yz",
        {"w": floats(1, 4, 5)},
    )
    x = floats(2, 3, 4)
    results = Engine(net)(x)
    np.testing.assert_allclose(results["z"], -(x @ floats(1, 4, 5)), rtol=1e-5)
    np.testing.assert_allclose(results["y"], np.maximum(x @ floats(1, 4, 5), 0), rtol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_residual_that_is_also_the_input_is_read_before_it_is_written(kernel):
    pad = kernel // 2
    w = floats(1, 40, 40, kernel, kernel) / 10
    net = program(
        {"x": ("n", 40, 9, 9)},
        [("Relu", ["x"], ["h"]), ("Conv", ["h", "w"], ["c"], {"pads": (pad,) * 4}),
         ("Add", ["h", "c"], ["s"]), ("Neg", ["s"], ["y"])],
        ["y"], {"w": w},
    )  # fmt: skip
    x = floats(2, 2, 40, 9, 9)
    padded = np.pad(np.maximum(x, 0), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    wanted = -(np.einsum("nchwij,ocij->nohw", windows, w) + np.maximum(x, 0))
    np.testing.assert_allclose(Engine(net)(x), wanted, rtol=1e-3, atol=1e-4)


def test_a_chain_reuses_its_memory():
    names = [f"v{i}" for i in range(30)]
    chain = [("Softmax", [a], [b]) for a, b in itertools.pairwise(names)]
    engine = Engine(program({"v0": (1, 1000)}, chain, ["v29"]))
    assert engine.working_memory() == 4032
    matrices = [("MatMul", [a, "w"], [b]) for a, b in itertools.pairwise(names)]
    engine = Engine(program({"v0": (1, 1000)}, matrices, ["v29"], {"w": floats(1, 1000, 1000) / 32}))
    assert engine.working_memory() == 2 * 4032


def test_plans_are_bounded():
    engine = Engine(program({"x": ("n",)}, [("Neg", "x", "y")], "y"))
    for n in range(100):
        np.testing.assert_array_equal(engine(np.ones(n, np.float32)), -np.ones(n))
    made = engine._native.plans_made
    engine(np.ones(99, np.float32))
    assert engine._native.plans_made == made
    engine(np.ones(1, np.float32))
    assert engine._native.plans_made == made + 1


CHANGES = {"dense": lambda w: w, "sparse": lambda w: pruned(w, 0.2), "codebook": lambda w: shared(w, 16)}


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed to count allocations"
    library = tmp_path_factory.mktemp("counter") / "counter.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "malloc_counter.c"], check=True
    )
    return library


@pytest.mark.skipif(sys.platform != "linux", reason="the counter is preloaded the way of Linux")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("weights", CHANGES)
def test_running_allocates_nothing(tmp_path, counter, weights, threads):
    artifact.write(convolutional(CHANGES[weights]), tmp_path / "net.goss")
    result = subprocess.run(
        [sys.executable, HERE / "allocation_probe.py", tmp_path / "net.goss", str(threads)],
        env={**os.environ, "LD_PRELOAD": str(counter)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    once, many = map(int, result.stdout.split())
    assert once > 0, "the counter counts: the result itself is allocated"
    assert many == once


@pytest.mark.parametrize("weights", CHANGES)
def test_any_number_of_threads_gives_the_same_bits(weights):
    net = convolutional(CHANGES[weights])
    isa = _native.machine_isas()[-1]
    engines = [_native.NativeEngine(native_model(net), threads, isa) for threads in (1, 2, 3, 5)]
    for batch in (1, 7, 40):
        x = floats(batch, batch, 3, 16, 16)
        first, *others = [engine.run([x])[0] for engine in engines]
        for other in others:
            np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("threads", [1, 2])
def test_eight_callers_at_a_time(threads):
    net, isa = convolutional(), _native.machine_isas()[-1]
    engine = _native.NativeEngine(native_model(net), threads, isa)
    images = [floats(i, 1 + i % 5, 3, 16, 16) for i in range(40)]
    expected = [engine.run([x])[0] for x in images]

    def work(i):
        return all(
            np.array_equal(engine.run([images[j % 40]])[0], expected[j % 40]) for j in range(i, i + 60)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(24)))
    arena, contexts = engine.memory([images[0]])
    assert arena > 0
    assert contexts <= 8


def test_nan_and_infinity_go_through():
    engine, x = Engine(convolutional()), floats(1, 2, 3, 16, 16)
    clean = engine(x)
    x[1, 0, 5, 5] = np.nan
    dirty = engine(x)
    np.testing.assert_array_equal(dirty[0], clean[0])
    assert np.isnan(dirty[1]).all()
    relu = Engine(program({"x": ("n",)}, [("Relu", "x", "y")], "y"))
    np.testing.assert_array_equal(
        relu(np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)), [np.nan, np.inf, 0, 0]
    )


def test_huge_shapes_are_refused_before_anything_is_allocated():
    net = program(
        {"x": (1,), "n": ("int64", (1,))},
        [("Expand", ["x", "shape"], ["y"])],
        ["y"],
        {"shape": np.array([2**40])},
    )
    with pytest.raises(ValueError, match="more than 2.34 elements"):
        Engine(net)
