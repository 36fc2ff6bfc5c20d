"""Notes of the stages, the same message said once with all that it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gossamer.measure.records import Comparison


@dataclass(frozen=True)
class Entry:
    """One message, and every layer, pass or file that it is about."""

    subjects: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Group:
    """The notes of one stage, or of the whole run."""

    stage: str
    entries: tuple[Entry, ...]


def notes(comparison: Comparison) -> list[Group]:
    """Groups in the order of the recipe, then what belongs to no stage; empty groups left out."""
    stages = enumerate(comparison.stages, 1)
    groups = [Group(f"{number} {stage.name}", _merged(stage.notes)) for number, stage in stages]
    groups.append(Group("The whole run", _merged(comparison.notes)))
    return [group for group in groups if group.entries]


def _merged(pairs: Iterable[tuple[str, str]]) -> tuple[Entry, ...]:
    subjects: dict[str, list[str]] = {}
    for subject, message in pairs:
        subjects.setdefault(message, []).append(subject)
    return tuple(Entry(tuple(dict.fromkeys(about)), message) for message, about in subjects.items())
