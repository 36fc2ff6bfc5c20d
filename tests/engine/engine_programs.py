"""Small Programs by hand, and networks for them."""

from __future__ import annotations

import numpy as np

from gossamer.artifact import Operation, Port, Program
from gossamer.weights import Codebook, Dense, Sparse, Weight


def program(inputs, operations, outputs, weights=None, opset=18) -> Program:
    """``inputs``: {name: shape} or {name: (dtype, shape)}; ``operations``: (op, inputs, outputs, attributes) tuples."""
    ports = []
    for name, port in inputs.items():
        typed = len(port) == 2 and isinstance(port[1], tuple)
        dtype, shape = port if typed else ("float32", port)
        ports.append(Port(name, dtype, shape))
    named = [
        Operation(op, tuple(read), tuple(written), rest[0] if rest else {}, f"n{i}")
        for i, (op, read, written, *rest) in enumerate(operations)
    ]
    stored = {
        name: w if isinstance(w, Weight) else Dense(np.asarray(w)) for name, w in (weights or {}).items()
    }
    results = tuple(Port(name, "float32", None) for name in outputs)
    return Program(tuple(ports), results, tuple(named), stored, {"": opset})


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def pruned(values: np.ndarray, density: float = 0.1) -> Sparse:
    """The largest part of a weight."""
    flat = values.ravel()
    positions = np.sort(np.argsort(-np.abs(flat))[: max(1, int(density * flat.size))])
    return Sparse(values.shape, positions.astype(np.int64), Dense(flat[positions]))


def shared(values: np.ndarray, count: int = 32) -> Codebook:
    """Every element replaced by the nearest of ``count`` centroids."""
    grid = np.unique(np.linspace(values.min(), values.max(), count).astype(np.float32))
    nearest = np.searchsorted((grid[1:] + grid[:-1]) / 2, values.ravel())
    used, codes = np.unique(nearest, return_inverse=True)
    dtype = np.uint8 if len(used) <= 256 else np.uint16
    return Codebook(codes.reshape(values.shape).astype(dtype), grid[used])


def pruned_and_shared(values: np.ndarray, density: float = 0.1, count: int = 32) -> Sparse:
    """Deep Compression's weight: the kept elements are codebook indices."""
    sparse = pruned(values, density)
    kept = shared(np.asarray(sparse.values.values), count)
    return Sparse(sparse.shape, sparse.positions, kept)
