"""Nothing is silent: what passes and exporters noticed is collected here, by name.

>>> with record() as notes:
...     note("fc3", "not pruned: only 10 weights")
>>> notes
[Note(subject='fc3', message='not pruned: only 10 weights')]
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_logger = logging.getLogger("gossamer")
_notes: ContextVar[tuple[list[Note], ...]] = ContextVar("_notes", default=())


@dataclass(frozen=True)
class Note:
    """One thing worth knowing: ``subject`` is a layer, a pass or a file; ``message`` says what and why."""

    subject: str
    message: str


def note(subject: str, message: str) -> None:
    """Write a note into every open record, and to the logger "gossamer"."""
    entry = Note(subject, message)
    for notes in _notes.get():
        notes.append(entry)
    _logger.info("%s: %s", subject, message)


@contextmanager
def record() -> Iterator[list[Note]]:
    """Collect the notes that are written while the context is open."""
    notes: list[Note] = []
    token = _notes.set((*_notes.get(), notes))
    try:
        yield notes
    finally:
        _notes.reset(token)
