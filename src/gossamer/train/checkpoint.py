"""Checkpoints: a run that is killed at any moment continues where it was, and ends with the same bytes.

A file is ``magic, SHA-256 of the rest, the rest``; the rest is a ``torch.save`` of plain types and tensors,
read with ``weights_only=True``, so that reading executes nothing. It is written beside its place, flushed
to the disk and renamed; the one before it is kept until the next, for the case that the disk lied.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, final

import torch

from gossamer.errors import CheckpointError, SaveError
from gossamer.graph.journal import note

_MAGIC = b"gossamer state 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


def save_state(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, and dicts, lists, tuples of them) to ``path``, atomically.

    Makes the folder where it is not there. Raises SaveError where it cannot be written; the file that was
    there before is whole.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getbuffer()
    path = Path(path)
    scratch = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(scratch, "wb") as file:
            for part in (_MAGIC, hashlib.sha256(content).digest(), content):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise SaveError(
            f"{path} could not be written: {error.strerror}; what was there before is whole"
        ) from error


def load_state(path: str | Path) -> dict[str, Any]:
    """What :func:`save_state` wrote, on the CPU.

    Raises CheckpointError for a missing, damaged or foreign file.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error.strerror}") from error
    if not content.startswith(_MAGIC):
        raise CheckpointError(
            f"{path} is not a checkpoint of this version of gossamer; give another directory"
        )
    start = len(_MAGIC) + _DIGEST_BYTES
    if hashlib.sha256(memoryview(content)[start:]).digest() != content[len(_MAGIC) : start]:
        raise CheckpointError(
            f"the checkpoint {path} is damaged (its checksum is wrong); delete it to start again"
        )
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content[start:]), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} holds more than plain data, and nothing of it was run; delete it"
        ) from error
    return state


@final
class Slot:
    """Where one training keeps its newest checkpoint and the one before."""

    def __init__(self, path: Path, seconds: float, steps: int | None) -> None:
        self._path, self._previous = path, path.with_name(path.name + ".previous")
        self._seconds, self._steps = seconds, steps
        self._saved_at = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether it is time to save, after ``step`` steps of an epoch."""
        if self._steps is not None:
            return step % self._steps == 0
        return time.monotonic() - self._saved_at >= self._seconds

    def save(self, state: Mapping[str, Any]) -> None:
        """Make ``state`` the newest. Raises SaveError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists():
                os.replace(self._path, self._previous)
        except OSError as error:
            raise SaveError(
                f"no checkpoint can be written to {self._path.parent}: {error.strerror}"
            ) from error
        save_state(self._path, state)
        self._saved_at = time.monotonic()

    def load(self, fingerprint: Mapping[str, Any]) -> dict[str, Any] | None:
        """The newest readable state, None where nothing was saved yet.

        Raises CheckpointError where it belongs to another training (``fingerprint`` differs), or where none
        of the files can be read.
        """
        problems: list[CheckpointError] = []
        for path in (self._path, self._previous):
            if not path.exists():
                continue
            try:
                state = load_state(path)
            except CheckpointError as error:
                problems.append(error)
                note(path.name, f"{error}; looking for the one before")
                continue
            self._check(path, state.get("fingerprint", {}), fingerprint)
            return state
        if problems:
            raise problems[0]
        return None

    def _check(self, path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        for name in (*wanted, *(name for name in found if name not in wanted)):
            if found.get(name) != wanted.get(name):
                raise CheckpointError(
                    f"the checkpoint {path} belongs to another run: its {name} is {found.get(name)!r}, and "
                    f"here it is {wanted.get(name)!r}; give another checkpoint directory, or delete this "
                    "one to start again"
                )


@final
class Checkpoints:
    """The checkpoints under one key: one slot for each training that happens, in order.

    A pass that trains several times claims several slots; when it runs again after a kill, the trainings
    that had finished are loaded, each from its own, and cost nothing.
    """

    def __init__(self, directory: Path, key: str, seconds: float, steps: int | None) -> None:
        self._directory, self._key = directory, key
        self._seconds, self._steps = seconds, steps
        self._claimed = 0

    def claim(self) -> Slot:
        """The next training's slot."""
        path = self._directory / f"{self._key}.{self._claimed}.ckpt"
        self._claimed += 1
        return Slot(path, self._seconds, self._steps)

    def clear(self) -> None:
        """Delete everything that was saved under this key: for when the pass's result is stored elsewhere."""
        for slot in range(self._claimed):
            for suffix in ("", ".previous", ".tmp"):
                (self._directory / f"{self._key}.{slot}.ckpt{suffix}").unlink(missing_ok=True)


_open: ContextVar[Checkpoints | None] = ContextVar("_open", default=None)


@contextmanager
def checkpointing(
    directory: str | Path, key: str = "training", seconds: float = 30.0, steps: int | None = None
) -> Iterator[Checkpoints]:
    """Trainings inside save to ``directory`` under ``key``, and continue what they find there.

    They save after every epoch and, inside an epoch, every ``seconds``, or every ``steps`` steps where that
    is given (several processes look at that every 20 steps). The main process writes and all of them read,
    so processes on several machines need a shared directory.
    """
    checkpoints = Checkpoints(Path(directory), key, seconds, steps)
    token = _open.set(checkpoints)
    try:
        yield checkpoints
    finally:
        _open.reset(token)


def claim_slot() -> Slot | None:
    """The slot for a training that starts now; None outside of :func:`checkpointing`."""
    checkpoints = _open.get()
    return checkpoints.claim() if checkpoints is not None else None


def _sync_directory(directory: Path) -> None:
    """Make a rename last through a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
