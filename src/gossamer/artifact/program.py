"""The deployable graph: a short list of operations with ONNX operator names and semantics.

A Program is plain data: no pickle, no protobuf, nothing that executes. Operations are topologically sorted: an
operation's inputs are program inputs, weights, or outputs of operations before it. Names are unique among inputs,
weights and operation outputs together; an absent optional input or output is the empty name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gossamer.weights import Weight

# ints are 64-bit, floats are kept as float32 (what ONNX stores); a sequence holds one type.
Attribute: TypeAlias = (
    int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | npt.NDArray[np.generic]
)
# A size is a number, or the name of a dimension that is chosen at run time ("batch"), or None where unknown.
Size: TypeAlias = int | str | None


@dataclass(frozen=True)
class Port:
    """One input or output of a Program: name, NumPy dtype name ("float32"), shape (None: unknown rank)."""

    name: str
    dtype: str
    shape: tuple[Size, ...] | None


@dataclass(frozen=True, eq=False)
class Operation:
    """One ONNX operator applied to named values. ``domain`` is empty for the standard operators."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    name: str = ""
    domain: str = ""


@dataclass(frozen=True, eq=False)
class Program:
    """Inputs, operations, weights, outputs. ``opsets`` maps an operator domain to its version, as in ONNX.

    ``metadata``: short strings by key (producer, class labels, ...); they change no result.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    weights: Mapping[str, Weight]
    opsets: Mapping[str, int]
    metadata: Mapping[str, str] = field(default_factory=dict)
