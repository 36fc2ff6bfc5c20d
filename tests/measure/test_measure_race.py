import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from measure_samples import two_layers

from gossamer import artifact
from gossamer.errors import InputError, MissingDependencyError, UnsupportedError
from gossamer.measure import (
    Gossamer,
    Latency,
    OnnxRuntime,
    PeakBytes,
    PeakFloats,
    Runner,
    Runtime,
    compare,
    file_runners,
    latency,
    machine,
    peak_memory,
    race,
    speedup,
    step_times,
)
from gossamer.measure.latency import _block_sizes


@pytest.fixture
def goss(tmp_path):
    path = tmp_path / "small.goss"
    artifact.write(two_layers(), path)
    return path


def runners(path, tmp_path, **options):
    folder = tmp_path / "converted"
    folder.mkdir(exist_ok=True)
    return file_runners(path, folder, **options)


def test_everyone_runs_the_same_network_on_the_same_inputs(goss, tmp_path):
    shares = []
    finishes = race(runners(goss, tmp_path, batch=3), runs=50, progress=shares.append)
    assert finishes[0].runner.runtime is Gossamer
    expected = finishes[0].first.outputs[0]
    assert expected.shape == (3, 4)
    for finish in finishes:
        np.testing.assert_allclose(finish.first.outputs[0], expected, rtol=1e-5, atol=1e-5)
        timed = finish.latency
        assert (timed.runs, timed.batch, timed.threads) == (50, 3, 1)
        assert 0 < timed.low_ms <= timed.median_ms <= timed.high_ms
        assert len(timed.blocks_ms) == 20
    assert shares[-1] == 1.0


def test_speed_up_is_paired_by_blocks():
    def timed(*blocks):
        return Latency("any", 1, 1, 1.0, 1.0, 1.0, 10, blocks)

    delta = speedup(timed(2.0, 4.0, 8.0), timed(1.0, 2.0, 2.0))
    assert (delta.median, delta.low, delta.high) == (2.0, 2.0, 3.0)
    assert speedup(timed(3.0), timed(3.0)).median == 1.0
    with pytest.raises(InputError, match="not measured in one race"):
        speedup(timed(1.0), timed(1.0, 2.0))


@pytest.mark.parametrize("runs", [1, 7, 20, 53, 400])
def test_blocks_share_out_all_runs(runs):
    sizes = _block_sizes(runs)
    assert sum(sizes) == runs
    assert len(sizes) <= 20
    assert max(sizes) - min(sizes) <= 1


def test_a_file_that_does_not_run_is_an_error_that_names_it(tmp_path):
    broken = tmp_path / "broken.goss"
    broken.write_bytes(b"GOSS, but no more")
    lame = Runner(Gossamer, broken, (np.zeros((1, 8), np.float32),))
    with pytest.raises(UnsupportedError, match="gossamer cannot run broken.goss: FormatError"):
        latency([lame], runs=1)


def test_who_fails_can_be_left_out(goss, tmp_path):
    good = runners(goss, tmp_path)[0]
    bad = dataclasses.replace(good, inputs=(np.zeros((1, 9), np.float32),))
    failed = []
    finishes = race([bad, good], runs=2, on_failure=lambda runner, error: failed.append((runner, str(error))))
    assert [finish.runner for finish in finishes] == [good]
    assert failed[0][0] is bad
    assert "InputError" in failed[0][1]


class Dying(Runtime):
    name, suffix, package = "dying", ".goss", "gossamer"

    def __init__(self, path, threads):
        import os

        os._exit(7)

    def run(self, inputs):
        return ()


def test_a_runtime_that_ends_its_process(goss):
    with pytest.raises(
        UnsupportedError, match="dying cannot run small.goss: its process ended with exit code 7"
    ):
        latency([Runner(Dying, goss, ())], runs=1)


class NotThere(Gossamer):
    name, package = "not there", "a_package_that_is_not_installed"


def test_a_runtime_that_is_not_installed(goss):
    assert not NotThere.installed()
    with pytest.raises(MissingDependencyError, match="pip install a_package"):
        latency([Runner(NotThere, goss, ())], runs=1)


@pytest.mark.parametrize("options", [{"runs": 0}, {"threads": 0}])
def test_refused(options, goss):
    with pytest.raises(InputError, match="at least 1"):
        race([Runner(Gossamer, goss, ())], **options)
    with pytest.raises(InputError, match="nothing to race"):
        race([])


def test_memory_of_a_fresh_process(goss, tmp_path):
    ballast = bytearray(200_000_000)  # of this process, and not of the one that is measured
    ballast[::4096] = b"x" * len(ballast[::4096])
    ours = peak_memory(runners(goss, tmp_path)[0])
    assert 5_000_000 < ours.before <= ours.peak < 200_000_000


def test_a_larger_network_takes_more(tmp_path):
    peaks = []
    for hidden in (16, 400_000):
        path = tmp_path / f"{hidden}.goss"
        artifact.write(two_layers(hidden=hidden, zeros=0), path)
        peaks.append(peak_memory(runners(path, tmp_path)[0]).peak)
    assert peaks[1] - peaks[0] > 4 * 400_000 * 12  # the weights at least


def test_onnx_files_run_in_both(tmp_path):
    pytest.importorskip("onnxruntime")
    from gossamer.onnx import save

    path = tmp_path / "n.onnx"
    save(two_layers(), path)
    found = runners(path, tmp_path)
    assert [runner.runtime for runner in found][:1] == [OnnxRuntime]
    assert found[-1].runtime is Gossamer


def test_machine():
    found = machine()
    assert found.cpu
    assert found.cores >= 1
    assert found.memory_bytes > 1e8
    assert found.instruction_set in ("portable", "avx2", "avx512", "avx512vnni")
    assert found.versions["numpy"] == np.__version__
    assert found.date.endswith("+00:00")


class OneStage:
    """A stage as a recipe's result has it."""

    name, metric, seconds, notes = "Prune(0.5)", 0.5, 1.0, ()

    def __init__(self, program):
        self.data = artifact.pack(program)


def test_a_comparison_times_the_steps_of_the_original_and_the_final_network():
    torch = pytest.importorskip("torch")
    stages = [OneStage(two_layers(zeros=zeros)) for zeros in (0.0, 0.5, 0.9)]
    example = torch.zeros(5, 8)
    found = compare(
        stages, torch.nn.Linear(8, 4), example, name="n", metric="accuracy", maximize=True, runs=2
    )
    for measured in (found.original, found.final):
        assert [step.operator for step in measured.steps] == ["Gemm+Relu", "Gemm"]
        assert all(step.microseconds >= 0 for step in measured.steps)
        assert measured.steps[1].macs == 4 * 16, "one example, not the whole batch"
    assert found.original.steps[0].macs == 8 * 16
    assert found.final.steps[0].macs == found.final.layers[0].kept
    assert [stage.measurement.steps for stage in found.stages] == [(), found.final.steps]
    assert json.loads(json.dumps(dataclasses.asdict(found)))["final"]["steps"][0]["kernel"]


def test_steps_of_zeros_unless_inputs_are_given():
    network = two_layers()
    alone, batch = step_times(network), step_times(network, (np.ones((3, 8), np.float32),))
    assert [3 * step.macs for step in alone] == [step.macs for step in batch]


class Elsewhere(Runtime):
    """Installed only where PYTHONPATH's own folder is; tells which interpreter runs it and what it may import."""

    name, suffix, package = "elsewhere", ".goss", "package_of_elsewhere"

    def __init__(self, path, threads):
        import package_of_elsewhere

        self._found = package_of_elsewhere.FOUND

    def run(self, inputs):
        import sys

        import gossamer

        return (np.array([sys.executable, str(gossamer.__file__), self._found]), *inputs)


def test_a_runtime_in_another_interpreter(goss, tmp_path, monkeypatch):
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "package_of_elsewhere.py").write_text("FOUND = 'here'\n")
    shutil.copy(__file__, packages / f"{Path(__file__).stem}.py")
    shutil.copy(Path(__file__).with_name("measure_samples.py"), packages)
    python = tmp_path / "python"
    # -S: an editable install's import hook (a .pth file) would find this package wherever PYTHONPATH points.
    path = f"{packages}:$PYTHONPATH:{Path(np.__file__).parents[1]}"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setenv("GOSSAMER_PEERS", f"/no/such/python:{python}")
    assert Elsewhere.interpreter() == str(python)
    (finish,) = race([Runner(Elsewhere, goss, (np.arange(3),))], runs=2)
    _, package, found = finish.first.outputs[0]
    assert found == "here"
    assert "gossamer-" in package  # through links: nothing else of this interpreter's packages is seen
    np.testing.assert_array_equal(finish.first.outputs[1], np.arange(3))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("runtime", [PeakFloats, PeakBytes])
def test_the_peak_counts_its_products_on_every_thread(runtime, threads, goss):
    (finish,) = race([Runner(runtime, goss, ())], runs=2, threads=threads)
    (one,) = race([Runner(runtime, goss, ())], runs=2)
    assert finish.first.outputs[0] == threads * one.first.outputs[0] > 0


class Sleeping(Gossamer):
    name = "sleeping"

    def run(self, inputs):
        import time

        time.sleep(0.02)
        return super().run(inputs)


def test_processor_time_leaves_out_what_others_take(goss):
    x = np.zeros((1, 8), np.float32)
    passed, used = latency(
        [Runner(Sleeping, goss, (x,)), Runner(Sleeping, goss, (x,), cpu_time=True)], runs=3
    )
    assert passed.median_ms > 20 > used.median_ms
