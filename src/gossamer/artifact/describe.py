"""What a file's bytes are spent on: the per-layer table of Han et al. 2016, from the file itself."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from gossamer.weights import Weight, nonzeros, representation, shape

from .file import decode
from .program import Program
from .wire import Part, Stream


@dataclass(frozen=True)
class WeightBytes:
    """One weight of the file. Bits are per kept element; None where the representation has no such part."""

    name: str
    shape: tuple[int, ...]
    representation: str  # "Sparse(Codebook)", "Dense", ...
    coder: str  # of the index and of the values: "pattern+values", "huffman+huffman", "plain", ...
    elements: int
    kept: int  # elements that are not zero
    weight_bits: float | None  # per stored value, before entropy coding
    weight_bits_coded: float | None
    index_bits: float | None  # per stored index, before entropy coding
    index_bits_coded: float | None
    table_bytes: int  # centroids, scales and zero points
    bytes: int  # all streams of the weight, the table included


@dataclass(frozen=True)
class Description:
    """A whole file: ``bytes`` is the sum of ``overhead_bytes`` and of the bytes of every weight."""

    bytes: int
    overhead_bytes: int  # header, program, names and shapes, attributes, checksum
    weights: tuple[WeightBytes, ...]
    program: Program


def describe(
    file: str | os.PathLike[str] | bytes | memoryview, *, max_bytes: int | None = None
) -> Description:
    """What the bytes of a ``.goss`` file (a path, or the bytes themselves) are spent on; raises as ``read``
    does."""
    if isinstance(file, bytes | memoryview):
        data = file
    else:
        with open(file, "rb") as opened:
            data = opened.read()
    weights: list[WeightBytes] = []

    def observe(name: str, weight: Weight, streams: list[Stream]) -> None:
        weights.append(_weight_bytes(name, weight, streams))

    program = decode(data, max_bytes, observe)
    spent = sum(weight.bytes for weight in weights)
    return Description(len(data), len(data) - spent, tuple(weights), program)


def _weight_bytes(name: str, weight: Weight, streams: list[Stream]) -> WeightBytes:
    kept = nonzeros(weight)
    values = [stream for stream in streams if stream.part is Part.WEIGHT]
    index = [stream for stream in streams if stream.part is Part.INDEX]
    return WeightBytes(
        name=name,
        shape=shape(weight),
        representation=representation(weight),
        coder="+".join(dict.fromkeys(stream.coder for stream in index + values)),
        elements=math.prod(shape(weight)),
        kept=kept,
        weight_bits=_bits(values),
        weight_bits_coded=_coded(values, kept),
        index_bits=_bits(index),
        index_bits_coded=_coded(index, kept),
        table_bytes=sum(stream.length for stream in streams if stream.part is Part.TABLE),
        bytes=sum(stream.length for stream in streams),
    )


def _bits(streams: list[Stream]) -> float | None:
    return sum(stream.bits for stream in streams) if streams else None


def _coded(streams: list[Stream], kept: int) -> float | None:
    return 8 * sum(stream.length for stream in streams) / kept if streams and kept else None
