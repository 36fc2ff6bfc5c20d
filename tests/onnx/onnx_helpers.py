"""What the ONNX tests share: comparing Programs field by field, running models, every kind of weight."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from gossamer.artifact.program import Operation, Program
from gossamer.weights import Codebook, Dense, Quantized, Sparse, Weight, equal, parameter_shape, sparsify

onnxruntime.set_default_logger_severity(4)


def assert_same(a: Program, b: Program) -> None:
    assert (a.inputs, a.outputs) == (b.inputs, b.outputs)
    assert list(a.opsets.items()) == list(b.opsets.items())
    assert a.metadata == b.metadata
    assert list(a.weights) == list(b.weights)
    for name, weight in a.weights.items():
        assert equal(weight, b.weights[name]), name
    assert len(a.operations) == len(b.operations)
    for one, other in zip(a.operations, b.operations, strict=True):
        _assert_same_operation(one, other)


def _assert_same_operation(a: Operation, b: Operation) -> None:
    assert (a.op, a.inputs, a.outputs, a.name, a.domain) == (b.op, b.inputs, b.outputs, b.name, b.domain)
    assert list(a.attributes) == list(b.attributes)
    for name, value in a.attributes.items():
        other = b.attributes[name]
        if isinstance(value, np.ndarray):
            assert equal(Dense(value), Dense(other))
        else:
            assert (type(value), repr(value)) == (type(other), repr(other))


def run_ort(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, inputs)


def run_reference(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return ReferenceEvaluator(model).run(None, inputs)


def assert_equal_bits(ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def _values(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _codebook(shape: tuple[int, ...], count: int) -> Codebook:
    random = np.random.default_rng(count)
    assignment = random.integers(0, count, shape)
    assignment.reshape(-1)[:count] = np.arange(count)
    return Codebook.of(assignment, np.linspace(-1, 1.3, count))


def _quantized(
    dtype: str, axis: int | None, bits: int, shape: tuple[int, ...] = (6, 50), block: int | None = None
) -> Quantized:
    random = np.random.default_rng(bits)
    signed = dtype.startswith("int")
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    size = parameter_shape(shape, axis, block)
    scale = random.uniform(1e-3, 0.3, size).astype(np.float32)
    zero_point = random.integers(low, high, size).astype(dtype)
    return Quantized(
        random.integers(low, high, shape).astype(dtype), np.asarray(scale), zero_point, axis, bits, block
    )


def _pruned(weight: Weight, share: float = 0.9, shape: tuple[int, ...] = (6, 50)) -> Sparse:
    return sparsify(weight, np.random.default_rng(7).random(shape) > share)


WEIGHTS: dict[str, Weight] = {
    "dense": Dense(_values(0, (6, 50))),
    "codebook of 5": _codebook((6, 50), 5),
    "codebook of 300": _codebook((6, 100), 300),
    "codebook of one zero": Codebook(np.zeros((6, 50), np.uint8), np.zeros(1, np.float32)),
    "codebook of minus zero": Codebook(np.zeros((6, 50), np.uint8), np.array([-0.0], np.float32)),
    "sparse": _pruned(Dense(_values(1, (6, 50)))),
    "sparse, nothing kept": _pruned(Dense(_values(1, (6, 50))), share=1.0),
    "sparse codebook": _pruned(_codebook((6, 50), 32)),
    "sparse codebook, nothing kept": _pruned(_codebook((6, 50), 32), share=1.0),
    "sparse quantized": _pruned(_quantized("int8", None, 8), share=0.5),
    "sparse quantized int16": _pruned(_quantized("int16", None, 12), share=0.5),
    "quantized int8": _quantized("int8", None, 8),
    "quantized int8 per row": _quantized("int8", 0, 8),
    "quantized int8 per column": _quantized("int8", 1, 8),
    "quantized uint8": _quantized("uint8", None, 8),
    "quantized 4 bits": _quantized("uint8", 0, 4),
    "quantized 1 bit": _quantized("int8", None, 1),
    "quantized 4 bits in blocks": _quantized("uint8", 0, 4, block=4),
    "quantized 3 bits in blocks": _quantized("int8", 1, 3, block=16),
    "quantized 2 bits in blocks": _quantized("uint8", 1, 2, block=50),
    "quantized int16": _quantized("int16", 0, 16),
    "quantized int32": _quantized("int32", None, 20),
    "quantized int32, wide": _quantized("int32", 1, 32),
    "empty": Dense(np.zeros((6, 0), np.float32)),
    "empty codebook": Codebook(np.zeros((6, 0), np.uint8), np.zeros(0, np.float32)),
    "nan and infinity": Dense(np.array([[np.nan, -np.inf], [-0.0, 1e-45]], np.float32)),
}
