"""The progress bar of a training: on a terminal, or when asked for; never in more than one process."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from .history import Epoch

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_wanted: ContextVar[bool | None] = ContextVar("_wanted", default=None)
_REFRESH_SECONDS = 0.1


@contextmanager
def showing_progress(wanted: bool = True) -> Iterator[None]:
    """Show progress bars inside, or hide them; by default a terminal as standard error shows them."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


class Bar:
    """What the training loop tells: every step and every epoch. This one keeps silent."""

    def step(self, epoch: int, done: int, loss: float, learning_rate: float) -> None:
        """``done`` steps of the whole training are over, in epoch number ``epoch``."""

    def epoch(self, record: Epoch) -> None:
        """An epoch is over."""


class _RichBar(Bar):
    def __init__(self, progress: Progress, task: TaskID, epochs: int) -> None:
        self._progress, self._task, self._epochs = progress, task, epochs
        self._drawn = 0.0

    def step(self, epoch: int, done: int, loss: float, learning_rate: float) -> None:
        now = time.monotonic()
        if now - self._drawn >= _REFRESH_SECONDS:
            self._drawn = now
            text = f"epoch {epoch}/{self._epochs}  loss {loss:.4f}  lr {learning_rate:.2e}"
            self._progress.update(self._task, completed=done, description=text)

    def epoch(self, record: Epoch) -> None:
        metric = "" if record.metric is None else f"  metric {record.metric:.4f}"
        self._progress.console.print(
            f"epoch {record.number}/{self._epochs}  loss {record.loss:.4f}{metric}  lr "
            f"{record.learning_rate:.2e}  {record.seconds:.1f} s",
            highlight=False,
        )


@contextmanager
def progress_bar(epochs: int, steps: int, is_main: bool) -> Iterator[Bar]:
    """A bar for ``epochs`` times ``steps`` steps."""
    wanted = _wanted.get()
    if not is_main or not (sys.stderr.isatty() if wanted is None else wanted):
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _RichBar(progress, progress.add_task("training", total=epochs * steps), epochs)
