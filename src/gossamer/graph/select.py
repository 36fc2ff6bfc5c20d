"""Which weights a pass works on, and the value that each one gets: a default, and overrides by name pattern."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

from gossamer.errors import RecipeError

from .journal import note
from .layers import Layer

V = TypeVar("V")

# A table of vectors is looked up, not multiplied: zeros in it save neither time nor, usually, the task.
_LEFT_ALONE = frozenset({"embedding"})


@dataclass(frozen=True)
class Choice(Generic[V]):
    """``values`` by weight name; ``own``: the names whose value came from an override."""

    values: dict[str, V]
    own: frozenset[str]


def choose(
    among: Sequence[Layer],
    default: V,
    overrides: Mapping[str, V],
    who: str,
    leave: Collection[str] = _LEFT_ALONE,
) -> Choice[V]:
    """The value for each layer's weight. A pattern matches the layer's name ("fc1") or its weight's ("fc1.weight").

    Layers of the kinds in ``leave`` get one only where a pattern names them.

    Raises RecipeError, in the name of ``who``, for a pattern that matches nothing.
    """
    values: dict[str, V] = {}
    own = set()
    unused = dict.fromkeys(overrides)
    for layer in among:
        pattern = next(
            (p for p in overrides if fnmatchcase(layer.name, p) or fnmatchcase(layer.weight, p)), None
        )
        for match in overrides:
            if fnmatchcase(layer.name, match) or fnmatchcase(layer.weight, match):
                unused.pop(match, None)
        if pattern is not None:
            values[layer.weight] = overrides[pattern]
            own.add(layer.weight)
        elif layer.kind not in leave:
            values[layer.weight] = default
        else:
            note(layer.weight, f"{who} leaves it alone ({layer.kind}); name it in `overrides` to include it")
    if unused:
        names = ", ".join(layer.name for layer in among) or "none"
        raise RecipeError(f"{who}: no layer is called {next(iter(unused))!r}; the layers are: {names}")
    return Choice(values, frozenset(own))
