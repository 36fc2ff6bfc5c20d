"""Where every byte went: a layer's bytes split into values, indices and the rest, from its measured bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gossamer.measure.records import LayerMeasurement, Measurement

REST = "rest of the file"
T = TypeVar("T")


@dataclass(frozen=True)
class Split:
    """Bytes of one layer. ``rest``: codebook, code tables, shape and whatever else the layer needs.

    Where the record does not tell values from indices, ``values`` holds all of it and ``known`` is false.
    """

    values: float
    indices: float
    rest: float
    known: bool


def split(layer: LayerMeasurement) -> Split:
    """Values and indices from the coded bits per kept weight; what remains of ``layer.bytes`` is the rest."""
    values = layer.kept * (layer.weight_bits_coded or 0.0) / 8
    indices = layer.kept * (layer.index_bits_coded or 0.0) / 8
    if layer.weight_bits_coded is None or values + indices > layer.bytes + 1:
        return Split(float(layer.bytes), 0.0, 0.0, known=False)
    return Split(values, indices, max(0.0, layer.bytes - values - indices), known=True)


def unassigned(measurement: Measurement) -> int:
    """Bytes of the file that belong to no layer: header, program, what is shared."""
    return max(0, measurement.file_bytes - sum(layer.bytes for layer in measurement.layers))


def largest(layers: Sequence[T], key: Callable[[T], float], limit: int) -> tuple[list[T], list[T]]:
    """The ``limit`` layers (or steps) with the largest key, in network order, and the others, in network order."""
    ranked = sorted(range(len(layers)), key=lambda index: (-key(layers[index]), index))
    chosen = set(ranked[:limit])
    shown = [layer for index, layer in enumerate(layers) if index in chosen]
    others = [layer for index, layer in enumerate(layers) if index not in chosen]
    return shown, others


def distinct(names: Sequence[str], width: int) -> list[str]:
    """Names for a chart: where one is too long, the path that all begin with is left out, then the middle.

    >>> distinct(["model.layers.0.conv1.weight", "model.layers.1.conv1.weight"], 18)
    ['…0.conv1.weight', '…1.conv1.weight']
    """
    if all(len(name) <= width for name in names):
        return list(names)
    first, last = min(names), max(names)  # what these two share, all share
    shared = next((i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), 0)
    start = first.rfind(".", 0, shared) + 1
    return [shorten(f"…{name[start:]}" if start else name, width) for name in names]


def shorten(name: str, width: int) -> str:
    """A long name with its middle left out: both ends of a layer's path say something.

    >>> shorten("encoder.layers.3.self_attn.q_proj.weight", 20)
    'encoder.l…roj.weight'
    """
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"
