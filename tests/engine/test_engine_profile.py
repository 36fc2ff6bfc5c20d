"""Profiling: a time for every step of the plan, in its order; results and other callers are not touched."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine_programs import floats, program, pruned
from test_engine_memory import convolutional

from gossamer import _native
from gossamer.engine import Engine
from gossamer.engine.lowering import native_model
from gossamer.errors import InputError

NETWORKS = {
    "convolutional": (convolutional(), [floats(1, 3, 3, 16, 16)]),
    "sparse": (convolutional(lambda w: pruned(w, 0.2)), [floats(1, 1, 3, 16, 16)]),
    "one step": (program({"x": ("n",)}, [("Neg", "x", "y")], "y"), [floats(1, 5)]),
    "copies": (program({"x": ("n",)}, [("Identity", "x", "y")], "xy"), [floats(1, 5)]),
    "nothing to do": (program({"x": (0, 3)}, [("Neg", "x", "y")], "y"), [floats(1, 0, 3)]),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("runs", [1, 8])
def test_every_step_has_a_time(name, runs):
    net, inputs = NETWORKS[name]
    engine = Engine(net)
    times, steps = engine.explain(*inputs, runs=runs), engine.explain(*inputs, runs=0)
    assert [dataclasses.replace(t, microseconds=None, share=None) for t in times] == steps
    assert all(np.isfinite(t.microseconds) and t.microseconds >= 0 for t in times)
    assert (
        not times
        or sum(t.share for t in times) == pytest.approx(1)
        or sum(t.microseconds for t in times) == 0
    )


def test_the_native_times_are_one_row_a_run():
    engine = _native.NativeEngine(native_model(convolutional()), 1, _native.machine_isas()[-1])
    times = engine.profile([floats(1, 1, 3, 16, 16)], 7)
    assert (times.shape, times.dtype) == ((7, 6), np.int64)
    assert (times >= 0).all()
    assert (times.sum(axis=1) > 0).all(), "convolutions take more than the clock's resolution"


def test_profiling_changes_no_result():
    net, (x,) = NETWORKS["convolutional"]
    engine, given = Engine(net), x.copy()
    before = engine(x)
    kept = before.copy()
    engine.explain(x, runs=3)
    np.testing.assert_array_equal(before, kept)
    np.testing.assert_array_equal(x, given)
    np.testing.assert_array_equal(engine(x), kept)


def test_inputs_as_in_explain():
    engine, (x,) = Engine(NETWORKS["convolutional"][0]), NETWORKS["convolutional"][1]
    for times in (engine.explain(runs=1), engine.explain(x=x, runs=1), engine.explain({"x": x}, runs=1)):
        assert len(times) == 6
    assert engine.explain(x, runs=1)[0].macs == 3 * engine.explain(runs=1)[0].macs


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.explain(runs=-1), "runs=-1: give a number of runs"),
        (lambda e: e.explain(np.zeros((1, 2), np.float32)), "it needs 4 dimensions"),
        (lambda e: e.explain(np.zeros((1, 3, 16, 16))), "must be of dtype float32"),
    ],
)
def test_a_profile_that_does_not_fit(call, message):
    with pytest.raises(InputError, match=message):
        call(Engine(convolutional()))


def test_what_fails_while_running_is_said():
    net = program({"i": ("int64", ("n",))}, [("Gather", "wi", "y")], "y", {"w": floats(1, 4, 2)})
    engine = Engine(net)
    with pytest.raises(InputError, match="index 4 is outside a dimension of 4"):
        engine.explain(np.array([4]))
    assert len(engine.explain(np.array([3]))) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_profiles_and_calls_at_a_time(threads):
    engine = _native.NativeEngine(native_model(convolutional()), threads, _native.machine_isas()[-1])
    images = [floats(i, 1 + i % 3, 3, 16, 16) for i in range(6)]
    expected = [engine.run([x])[0] for x in images]

    def call(i):
        return all(np.array_equal(engine.run([images[j % 6]])[0], expected[j % 6]) for j in range(i, i + 30))

    def profile(i):
        return all((engine.profile([images[j % 6]], 5) >= 0).all() for j in range(i, i + 30))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda i: (profile if i % 2 else call)(i), range(16)))
