"""Checkpoints: atomic, checked, exact."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_tasks import batches, compressed_graph, graph, same_state, task

from gossamer.errors import CheckpointError, SaveError
from gossamer.graph import record
from gossamer.task import Task
from gossamer.train import SGD, Finetune, checkpointing, history, load_state, loop, save_state

PLAN = Finetune(epochs=3, optimizer=SGD(lr=0.05))


@pytest.fixture(scope="module")
def killed_runs(tmp_path_factory) -> tuple[Path, dict[str, int]]:
    """Where the scenarios' results are, and how often each was killed."""
    directory = tmp_path_factory.mktemp("killed")
    command = [sys.executable, Path(__file__).with_name("killed_training.py"), directory]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return directory, {name: int(kills) for name, _, kills, *_ in map(str.split, run.stdout.splitlines())}


@pytest.mark.parametrize("scenario", ["batches", "loader", "generator", "workers"])
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(scenario, killed_runs) -> None:
    directory, kills = killed_runs
    assert kills[scenario] >= 8
    whole, resumed = (load_state(directory / scenario / f"{name}.state") for name in ("whole", "resumed"))
    for name, value in whole["network"].items():
        assert torch.equal(value, resumed["network"][name]), name
    assert whole["epochs"] == resumed["epochs"]
    assert torch.equal(whole["random"], resumed["random"])


class InterruptedTraining(Exception):  # noqa: N818
    pass


def interrupted_task(at: int) -> Task:
    calls = []

    def loss(outputs, targets):
        calls.append(0)
        if len(calls) == at:
            raise InterruptedTraining
        return torch.nn.functional.cross_entropy(outputs, targets)

    return Task(train=batches(), valid=batches(), loss=loss, metric=task().metric)


def interrupt(directory: Path, at: int = 11, steps: int = 2) -> None:
    """Leave the checkpoints of a run that ended at step ``at``: the newest, and the one before."""
    with pytest.raises(InterruptedTraining), checkpointing(directory, "a", steps=steps):
        PLAN(compressed_graph(), interrupted_task(at))


def resume(directory: Path, plan: Finetune = PLAN, network=None, the_task: Task | None = None):
    with checkpointing(directory, "a"):
        return plan(compressed_graph() if network is None else network, the_task or task())


def test_state_comes_back_as_it_was(tmp_path) -> None:
    state = {"t": torch.arange(3.0), "n": {"x": [1, 2.5, "s", None, (True,)]}, "half": torch.ones(2).half()}
    save_state(tmp_path / "s", state)
    back = load_state(tmp_path / "s")
    assert torch.equal(back["t"], state["t"])
    assert back["half"].dtype is torch.float16
    assert back["n"] == state["n"]
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_every_truncation_and_flip_is_found(tmp_path) -> None:
    path = tmp_path / "s"
    save_state(path, {"t": torch.arange(3)})
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError):
            load_state(path)
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            load_state(path)


def test_what_executes_code_is_not_loaded(tmp_path) -> None:
    """A file with a right checksum around a pickle that would run something."""

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    save_state(tmp_path / "s", {"t": Hostile()})
    with pytest.raises(CheckpointError, match="delete it"):
        load_state(tmp_path / "s")
    assert not (tmp_path / "pwned").exists()


def test_a_missing_file_and_a_full_disk(tmp_path, monkeypatch) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        load_state(tmp_path / "s")
    save_state(tmp_path / "s", {"x": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError, match="No space left"):
        save_state(tmp_path / "s", {"x": 2})
    assert load_state(tmp_path / "s") == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_a_directory_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="no checkpoint can be written"):
        resume(tmp_path / "file" / "inside")


@pytest.mark.parametrize("at", [2, 6, 7, 8, 12, 13, 18])
def test_resuming_after_any_step_is_exact(at, tmp_path) -> None:
    interrupt(tmp_path, at, steps=1)
    assert same_state(resume(tmp_path), PLAN(compressed_graph(), task()))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
def test_the_one_before_is_used_when_the_newest_is_damaged(damage, tmp_path) -> None:
    interrupt(tmp_path)
    newest = tmp_path / "a.0.ckpt"
    content = newest.read_bytes()
    if damage == "missing":
        newest.unlink()
    else:
        harm = {"truncated": content[:-9], "flipped": content[:-9] + b"x" * 9, "empty": b""}
        newest.write_bytes(harm[damage])
    with record() as notes:
        resumed = resume(tmp_path)
    assert same_state(resumed, PLAN(compressed_graph(), task()))
    assert any("looking for the one before" in n.message for n in notes) is (damage != "missing")


def test_nothing_readable_is_an_error(tmp_path) -> None:
    interrupt(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"damaged.*delete it to start again"):
        resume(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"plan": Finetune(epochs=4, optimizer=SGD(lr=0.05))}, "its pass is .*epochs=3"),
        ({"network": graph()}, "its network is"),
        ({"the_task": task(size=8)}, "its number of batches per epoch is 6, and here it is 12"),
    ],
    ids=["pass", "network", "data"],
)
def test_a_checkpoint_of_another_run_is_refused(change, named, tmp_path) -> None:
    interrupt(tmp_path)
    with pytest.raises(CheckpointError, match=f"belongs to another run: {named}"):
        resume(tmp_path, **change)


def test_a_finished_training_is_loaded_not_repeated(tmp_path) -> None:
    first = resume(tmp_path)
    with history() as curve:
        again = resume(tmp_path, the_task=interrupted_task(1))
    assert same_state(first, again)
    assert [epoch.number for epoch in curve] == [1, 2, 3]


def test_trainings_under_one_key_have_a_slot_each_and_can_be_cleared(tmp_path) -> None:
    with checkpointing(tmp_path, "a") as checkpoints:
        first = PLAN(compressed_graph(), task())
        second = PLAN(first, task())
    assert not same_state(first, second)
    with checkpointing(tmp_path, "a"):
        again = PLAN(PLAN(compressed_graph(), interrupted_task(1)), interrupted_task(1))
    assert same_state(second, again)
    checkpoints.clear()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_without_checkpointing(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    PLAN(compressed_graph(), task())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("losses", ["read at once", "read in groups"])
def test_a_diverged_training_leaves_the_sound_checkpoint(losses, tmp_path, monkeypatch) -> None:
    """As on a CPU, and as on a GPU."""
    if losses == "read in groups":
        monkeypatch.setattr(loop, "_READ_EVERY", {})
    calls = []

    def loss(outputs, targets):
        calls.append(0)
        return torch.nn.functional.cross_entropy(outputs, targets) * (float("nan") if len(calls) == 4 else 1)

    with pytest.raises(Exception, match="became nan"), checkpointing(tmp_path, "a", steps=1):
        PLAN(compressed_graph(), Task(train=batches(), valid=batches(), loss=loss, metric=task().metric))
    assert load_state(tmp_path / "a.0.ckpt")["position"]["step"] == 3
    assert same_state(resume(tmp_path), PLAN(compressed_graph(), task()))
