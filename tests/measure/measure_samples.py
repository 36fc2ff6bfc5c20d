"""Programs that the tests of measuring share."""

import numpy as np

from gossamer.artifact import Operation, Port, Program
from gossamer.weights import Dense, sparsify

OPSETS = {"": 22}


def program(operations, weights, inputs, outputs=None):
    """A Program of float32 ports from short notation: inputs {"x": shape}, operations, arrays or Weights."""
    named = {k: v if not isinstance(v, np.ndarray) else Dense(v) for k, v in weights.items()}
    ports = tuple(Port(name, "float32", shape) for name, shape in inputs.items())
    last = operations[-1].outputs[0]
    return Program(ports, outputs or (Port(last, "float32", None),), tuple(operations), named, OPSETS)


def two_layers(seed=0, hidden=16, zeros=0.5):
    """x [batch, 8] -> Gemm -> Relu -> Gemm -> [batch, 4]; the first weight sparse."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((hidden, 8)).astype(np.float32)
    first[rng.random(first.shape) < zeros] = 0
    operations = [
        Operation("Gemm", ("x", "w1", "b1"), ("h",), {"transB": 1}),
        Operation("Relu", ("h",), ("r",)),
        Operation("Gemm", ("r", "w2", "b2"), ("y",), {"transB": 1}),
    ]
    weights = {
        "w1": sparsify(Dense(first)),
        "b1": rng.standard_normal(hidden).astype(np.float32),
        "w2": rng.standard_normal((4, hidden)).astype(np.float32),
        "b2": rng.standard_normal(4).astype(np.float32),
    }
    return program(operations, weights, {"x": ("batch", 8)}, (Port("y", "float32", ("batch", 4)),))
