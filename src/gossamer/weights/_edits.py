"""From one representation to another: what weight transforms do to a weight that ships."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import singledispatch
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gossamer.errors import UnsupportedError, WeightError

from ._functions import decode, shape
from ._representations import Codebook, Dense, Quantized, Sparse, Weight, spread

_T = TypeVar("_T", bound=np.generic)


@singledispatch
def take(weight: Weight, flat: npt.NDArray[np.int64]) -> Weight:
    """The elements at ``flat`` positions (C order) as a one-dimensional weight of the same representation."""
    raise TypeError(f"take: no implementation for {type(weight).__name__}")


@take.register(Dense)
def _(weight: Dense, flat: npt.NDArray[np.int64]) -> Weight:
    return Dense(weight.values.reshape(-1)[flat])


@take.register(Codebook)
def _(weight: Codebook, flat: npt.NDArray[np.int64]) -> Weight:
    return Codebook.of(weight.indices.reshape(-1)[flat], weight.centroids)


@take.register(Quantized)
def _(weight: Quantized, flat: npt.NDArray[np.int64]) -> Weight:
    if weight.axis is not None:
        raise UnsupportedError(
            "elements of a weight that is quantized per axis have no common scale: prune before "
            "quantizing, or quantize per tensor"
        )
    return Quantized(weight.ints.reshape(-1)[flat], weight.scale, weight.zero_point, None, weight.bits)


def sparsify(weight: Weight, keep_mask: npt.NDArray[np.bool_] | None = None) -> Sparse:
    """The weight as Sparse: the elements that ``keep_mask`` keeps and that are not zero.

    ``keep_mask``: bool, of the weight's shape; None keeps all. Of a Sparse weight it keeps
    the intersection. The representation of the values stays what it was.
    """
    if keep_mask is not None and keep_mask.shape != shape(weight):
        raise WeightError(f"keep_mask has shape {keep_mask.shape}; the weight has {shape(weight)}")
    keep = None if keep_mask is None else keep_mask.astype(bool, copy=False)
    if isinstance(weight, Sparse):
        if keep is None:
            return weight
        held = np.flatnonzero(keep.reshape(-1)[weight.positions])
        return Sparse(weight.shape, weight.positions[held], take(weight.values, held))
    nonzero = decode(weight) != 0
    positions = np.flatnonzero(nonzero if keep is None else nonzero & keep).astype(np.int64, copy=False)
    return Sparse(shape(weight), positions, take(weight, positions))


def masked(weight: Weight, keep_mask: npt.NDArray[np.bool_]) -> Weight:
    """The weight with zero where ``keep_mask`` (bool, of its shape) is False.

    Sparse, except for a weight that is Quantized with several scales: that one holds zero's integers there.
    """
    if not isinstance(weight, Quantized) or weight.axis is None:
        return sparsify(weight, keep_mask)
    zero = spread(weight.zero_point, weight.ints.shape, weight.axis, weight.block)
    return dataclasses.replace(weight, ints=np.where(keep_mask, weight.ints, zero))


def with_codebook(
    weight: Weight, assignment: npt.NDArray[np.integer], centroids: npt.NDArray[np.floating]
) -> Codebook | Sparse:
    """The weight with every element replaced by its centroid, as a Codebook or Sparse(Codebook).

    ``assignment``: integers of the weight's whole shape, into ``centroids`` of shape (n,), taken as float32,
    in any order. What a Sparse weight does not keep stays zero, whatever its assignment says; a kept element
    whose centroid is exactly zero is dropped. The result is canonical: centroids strictly increasing, every
    one used.
    """
    if assignment.shape != shape(weight):
        raise WeightError(f"assignment has shape {assignment.shape}; the weight has {shape(weight)}")
    if not isinstance(weight, Sparse):
        return Codebook.of(assignment, centroids)
    kept = Codebook.of(assignment.reshape(-1)[weight.positions], centroids)
    held = np.flatnonzero(kept.centroids[kept.indices])
    return Sparse(weight.shape, weight.positions[held], take(kept, held))


@singledispatch
def transpose(weight: Weight, perm: Sequence[int]) -> Weight:
    """The weight with its axes permuted as by ``numpy.transpose``, in the same representation."""
    raise TypeError(f"transpose: no implementation for {type(weight).__name__}")


@transpose.register(Dense)
def _(weight: Dense, perm: Sequence[int]) -> Weight:
    return Dense(_permuted(weight.values, perm))


@transpose.register(Codebook)
def _(weight: Codebook, perm: Sequence[int]) -> Weight:
    return Codebook(_permuted(weight.indices, perm), weight.centroids)


@transpose.register(Quantized)
def _(weight: Quantized, perm: Sequence[int]) -> Weight:
    ints = _permuted(weight.ints, perm)
    axis = None if weight.axis is None else list(perm).index(weight.axis)
    scale, zero_point = weight.scale, weight.zero_point
    if weight.block is not None:  # they have the weight's axes
        scale, zero_point = _permuted(scale, perm), _permuted(zero_point, perm)
    return Quantized(ints, scale, zero_point, axis, weight.bits, weight.block)


@transpose.register(Sparse)
def _(weight: Sparse, perm: Sequence[int]) -> Weight:
    _check_permutation(weight.shape, perm)
    target = tuple(weight.shape[axis] for axis in perm)
    if not len(weight.positions):
        return Sparse(target, weight.positions, weight.values)
    # The flat position in the permuted weight is a sum of coordinates times strides, one axis of the source
    # at a time.
    moved = np.zeros(len(weight.positions), dtype=np.int64)
    for place, axis in enumerate(perm):
        stride = math.prod(weight.shape[axis + 1 :])
        moved += weight.positions // stride % weight.shape[axis] * math.prod(target[place + 1 :])
    order = np.argsort(moved)
    return Sparse(target, moved[order], take(weight.values, order))


def _permuted(values: npt.NDArray[_T], perm: Sequence[int]) -> npt.NDArray[_T]:
    _check_permutation(values.shape, perm)
    return np.ascontiguousarray(values.transpose(tuple(perm))).reshape([values.shape[axis] for axis in perm])


def _check_permutation(shape: tuple[int, ...], perm: Sequence[int]) -> None:
    if sorted(perm) != list(range(len(shape))):
        raise WeightError(
            f"perm is {list(perm)}; a weight of shape {shape} needs a permutation of 0..{len(shape) - 1}"
        )
