"""Train, get killed, start again, until done: ``python killed_training.py DIRECTORY``. No tests here.

Every attempt is a forked process that is really killed (SIGKILL); forking saves importing torch every time.
Writes ``SCENARIO/whole.state`` (never killed, no checkpoints) and ``SCENARIO/resumed.state``, and prints how
many attempts ended in which way.
"""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from small_tasks import compressed_graph, loader_task, task

from gossamer.graph import Graph
from gossamer.task import Task
from gossamer.train import L2, SGD, Adam, EarlyStopping, Finetune, checkpointing, history, save_state

SCENARIOS: dict[str, tuple[Finetune, Callable[[], Task]]] = {
    "batches": (
        Finetune(4, Adam(lr=0.01), penalties=(L2(1e-3),), clip=1.0, early_stopping=EarlyStopping(patience=3)),
        task,
    ),
    "loader": (Finetune(3, SGD(lr=0.05, weight_decay=1e-3)), loader_task),
    "generator": (Finetune(3, SGD(lr=0.05)), lambda: loader_task(generator=torch.Generator().manual_seed(8))),
    "workers": (Finetune(2, SGD(lr=0.05)), lambda: loader_task(workers=2)),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(function: Callable, number: int) -> Callable:
    """``function``, but the process dies when it is called for the ``number``-th time."""
    calls = 0

    def deadly(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == number:
            die()
        return function(*args, **kwargs)

    return deadly


def half_written(number: int) -> Callable:
    """``open``, but the ``number``-th file written gets a part of its content, and the process dies."""
    calls = 0

    def deadly(path, mode="r", *args, **kwargs):
        nonlocal calls
        file = builtins.open(path, mode, *args, **kwargs)  # noqa: SIM115
        calls += mode == "wb"
        if calls == number:
            Path(path).write_bytes(b"gossamer state 1\n" + bytes(500))
            die()
        return file

    return deadly


def step(number: int, the_task: Task) -> Task:
    return dataclasses.replace(the_task, loss=at_call(the_task.loss, number))


def during(patch: str, number: int) -> Callable[[Task], Task]:
    """Die in the middle of writing the ``number``-th checkpoint of the attempt."""

    def prepare(the_task: Task) -> Task:
        from gossamer.train import checkpoint

        if patch == "write":
            checkpoint.open = half_written(number)
        else:
            setattr(os, patch, at_call(getattr(os, patch), number))
        return the_task

    return prepare


# How each attempt dies, in order. Checkpoints are taken every 4 steps and after every epoch of 6.
KILLS: list[Callable[[Task], Task]] = [
    lambda t: step(1, t),
    lambda t: step(3, t),
    during("write", 1),
    during("fsync", 1),
    lambda t: step(6, t),
    during("replace", 1),
    during("replace", 2),
    during("write", 2),
    during("replace", 3),
    lambda t: step(8, t),
    during("fsync", 4),
]


def train(scenario: str, graph: Graph, result: Path, checkpoints: Path | None, prepare: Callable) -> None:
    plan, make_task = SCENARIOS[scenario]
    the_task = prepare(make_task())
    with history() as curve:
        if checkpoints is None:
            trained = plan(graph, the_task)
        else:
            with checkpointing(checkpoints, "3-Finetune", steps=4):
                trained = plan(graph, the_task)
    epochs = [(e.number, e.loss, e.metric, e.learning_rate) for e in curve]
    save_state(result, {"network": trained.state_dict(), "epochs": epochs, "random": torch.rand(3)})


def attempt(*arguments, kill_after: float | None = None) -> bool:
    """Whether a training in a process of its own came to its end."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        try:
            train(*arguments)
            os._exit(0)
        finally:
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    # A loader's worker that starts while its parent is killed never learns of it, and would hold our output open.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status:
        sys.exit(f"an attempt failed with status {status}")
    return True


def run(directory: Path, scenario: str, graph: Graph) -> None:
    directory.mkdir()
    torch.manual_seed(77)
    nothing = lambda t: t  # noqa: E731
    attempt(scenario, graph, directory / "whole.state", None, nothing)
    resumed = directory / "resumed.state", directory / "checkpoints"
    ended = [attempt(scenario, graph, *resumed, prepare) for prepare in KILLS]
    started = time.monotonic()
    attempt(scenario, graph, directory / "timed.state", None, nothing)
    duration = time.monotonic() - started
    for share in (0.3, 0.7, 0.1, 0.9):
        ended.append(attempt(scenario, graph, *resumed, nothing, kill_after=share * duration))
    ended.append(attempt(scenario, graph, *resumed, nothing))
    print(scenario, "killed", ended.count(False), "finished", ended.count(True))


if __name__ == "__main__":
    # No torch.set_num_threads, which makes a thread pool that PyTorch's CUDA build does not find in a fork: the caller
    # sets OMP_NUM_THREADS.
    network = compressed_graph()
    for name in SCENARIOS:
        run(Path(sys.argv[1]) / name, name, network)
