"""Several processes train as one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes
from accelerate.state import AcceleratorState
from small_tasks import FEATURES, compressed_graph, same_state, task

from gossamer.task import evaluate
from gossamer.train import Adam, Finetune, load_state
from gossamer.train.processes import Processes


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, list[dict]]:
    """What each of two gloo processes got, by case."""
    directory = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    script = Path(__file__).with_name("two_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    run = subprocess.run([*command, script, directory], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    names = [case.__name__ for case in two_processes.CASES]
    return {name: [load_state(directory / f"{name}.{rank}") for rank in (0, 1)] for name in names}


@pytest.mark.parametrize("case", two_processes.CASES, ids=lambda case: case.__name__)
def test_every_process_ends_with_the_same_bytes(case, saved) -> None:
    first, second = saved[case.__name__]
    assert first["network"].keys() == second["network"].keys()
    for name, value in first["network"].items():
        assert value.numpy().tobytes() == second["network"][name].numpy().tobytes(), name
    assert first["epochs"] == second["epochs"]


def test_two_processes_take_the_steps_of_one(saved) -> None:
    """Also where the last batch has fewer examples than there are processes."""
    alone = two_processes.exact().state_dict()
    for name, value in saved["exact"][0]["network"].items():
        torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-6, msg=name)


def test_running_statistics_are_those_of_the_whole_batches(saved) -> None:
    alone, together = two_processes.norm().state_dict(), saved["norm"][0]["network"]
    torch.testing.assert_close(together["norm.running_mean"], alone["norm.running_mean"])
    assert int(together["norm.num_batches_tracked"]) == 3
    # The variance inside each half, averaged: close to that of the whole batch, not equal to it.
    torch.testing.assert_close(together["norm.running_var"], alone["norm.running_var"], rtol=0.15, atol=0.01)


def test_masks_and_codebooks_are_what_they_were(saved) -> None:
    before = two_processes.compressed_graph().state_dict()
    after = saved["everything"][0]["network"]
    kept = [name for name in before if name.endswith(("kept", "assignment"))]
    assert len(kept) == 2
    for name in kept:
        assert torch.equal(before[name], after[name])


def test_resuming_is_exact(saved) -> None:
    for name, value in saved["uninterrupted"][0]["network"].items():
        assert torch.equal(value, saved["resumed"][0]["network"][name]), name
    # Where both attempts listen to the same history, the second tells the first epoch again.
    assert saved["uninterrupted"][0]["epochs"] == saved["resumed"][0]["epochs"][1:]


class Member(Processes):
    """Rank ``rank`` of ``count``, for what needs no message."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_the_shares_of_a_batch_are_the_batch(size, count) -> None:
    """Weighted by their weights, the means over the shares average to the mean over the batch."""
    inputs, targets = torch.arange(size * 3.0).view(size, 3), torch.arange(size)
    seen, mean = [], 0.0
    for rank in range(count):
        share, labels, weight = Member(rank, count).share(None, inputs, {"y": targets})
        seen += labels["y"].tolist() if weight else []
        mean += weight * share.mean().item() / count
    assert seen == list(range(size))
    assert mean == pytest.approx(inputs.mean().item())


@pytest.fixture
def launch(monkeypatch):
    """``launch("bf16")``: as under ``accelerate launch --mixed_precision bf16``."""

    def start(precision: str) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)

    yield start
    AcceleratorState._reset_state(reset_partial_state=True)


def test_mixed_precision_trains_and_leaves_no_trace_on_the_network(launch) -> None:
    plan = Finetune(epochs=10, optimizer=Adam(lr=0.02))
    launch("bf16")
    network = plan(compressed_graph(), task())
    again = plan(compressed_graph(), task())
    launch("no")
    assert same_state(network, again)
    assert not same_state(network, plan(compressed_graph(), task()))
    assert network(torch.randn(2, FEATURES)).dtype is torch.float32
    assert network.__dict__.keys() == compressed_graph().__dict__.keys()
    assert evaluate(network, task()) > evaluate(compressed_graph(), task())
