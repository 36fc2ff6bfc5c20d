"""Functions of the representation. A new representation registers one implementation of each."""

from __future__ import annotations

import dataclasses
import math
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from ._representations import Codebook, Dense, Quantized, Sparse, Weight, spread


@singledispatch
def decode(weight: Weight) -> npt.NDArray[np.generic]:
    """The weight's values as a plain array of its shape."""
    raise TypeError(f"decode: no implementation for {type(weight).__name__}")


@decode.register(Dense)
def _(weight: Dense) -> npt.NDArray[np.generic]:
    return weight.values


@decode.register(Quantized)
def _(weight: Quantized) -> npt.NDArray[np.generic]:
    where = (weight.ints.shape, weight.axis, weight.block)
    steps = weight.ints.astype(np.int64) - spread(weight.zero_point.astype(np.int64), *where)
    return np.asarray(steps.astype(np.float32) * spread(weight.scale, *where))


@decode.register(Codebook)
def _(weight: Codebook) -> npt.NDArray[np.generic]:
    return np.asarray(weight.centroids[weight.indices])


@decode.register(Sparse)
def _(weight: Sparse) -> npt.NDArray[np.generic]:
    values = decode(weight.values)
    dense = np.zeros(math.prod(weight.shape), dtype=values.dtype)
    dense[weight.positions] = values
    return dense.reshape(weight.shape)


@singledispatch
def shape(weight: Weight) -> tuple[int, ...]:
    """The shape of the decoded weight."""
    raise TypeError(f"shape: no implementation for {type(weight).__name__}")


@shape.register(Dense)
def _(weight: Dense) -> tuple[int, ...]:
    return weight.values.shape


@shape.register(Quantized)
def _(weight: Quantized) -> tuple[int, ...]:
    return weight.ints.shape


@shape.register(Codebook)
def _(weight: Codebook) -> tuple[int, ...]:
    return weight.indices.shape


@shape.register(Sparse)
def _(weight: Sparse) -> tuple[int, ...]:
    return weight.shape


@singledispatch
def dtype(weight: Weight) -> np.dtype[np.generic]:
    """The dtype of the decoded weight."""
    raise TypeError(f"dtype: no implementation for {type(weight).__name__}")


@dtype.register(Dense)
def _(weight: Dense) -> np.dtype[np.generic]:
    return weight.values.dtype


@dtype.register(Quantized)
@dtype.register(Codebook)
def _(weight: Weight) -> np.dtype[np.generic]:
    return np.dtype(np.float32)


@dtype.register(Sparse)
def _(weight: Sparse) -> np.dtype[np.generic]:
    return dtype(weight.values)


def nonzeros(weight: Weight) -> int:
    """How many elements of the decoded weight are not zero."""
    return len(weight.positions) if isinstance(weight, Sparse) else int(np.count_nonzero(decode(weight)))


def equal(a: Weight, b: Weight) -> bool:
    """Whether two weights are the same representation with the same bytes in every field."""
    if type(a) is not type(b):
        return False
    fields = (field.name for field in dataclasses.fields(a))  # type: ignore[arg-type]
    return all(_same(getattr(a, name), getattr(b, name)) for name in fields)


def _same(a: object, b: object) -> bool:
    if isinstance(a, Weight) and isinstance(b, Weight):
        return equal(a, b)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(_bits(a), _bits(b))
    return a == b


def _bits(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same memory as unsigned integers, in which each number has one form only."""
    size = array.dtype.itemsize
    return np.ascontiguousarray(array).reshape(-1).view(f"u{size}" if size in (1, 2, 4, 8) else "u1")


def representation(weight: Weight) -> str:
    """The name of the representation with what it nests: "Dense", "Sparse(Codebook)"."""
    name = type(weight).__name__
    return f"{name}({representation(weight.values)})" if isinstance(weight, Sparse) else name
