"""Weights that stay in codes: every representation, layout and operator that reads them, against decoded weights."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from engine_programs import floats, program, shared

from gossamer import Engine, _native
from gossamer.weights import Codebook, Dense, Quantized, Weight, decode, parameter_shape, transpose

ISAS = _native.machine_isas()


def quantized(shape, bits, axis=None, block=None, signed=True, seed=0) -> Quantized:
    random = np.random.default_rng(seed)
    dtype = np.int8 if signed else np.uint8
    low = -(1 << bits - 1) if signed else 0
    where = parameter_shape(shape, axis, block)
    ints = random.integers(low, low + (1 << bits), shape).astype(dtype)
    scale = np.asarray(random.uniform(0.01, 0.1, where).astype(np.float32))
    zero_point = np.asarray(random.integers(low, low + (1 << bits), where).astype(dtype))
    return Quantized(ints, scale, zero_point, axis, bits, block)


# weights of 96 outputs and 80 inputs, outputs first
WEIGHTS: dict[str, Weight] = {
    **{f"{bits} bits in groups": quantized((96, 80), bits, 1, 16, seed=bits) for bits in (2, 3, 4, 8)},
    "4 bits in ragged groups": quantized((96, 80), 4, 1, 33, signed=False),
    "4 bits, one scale": quantized((96, 80), 4),
    "8 bits per output": quantized((96, 80), 8, 0),
    "1 bit": quantized((96, 80), 1, 0, signed=False),
    **{
        f"codebook of {count}": shared(floats(count, 96, 80), count)
        for count in (2, 16, 32, 64, 100, 256, 900)
    },
}
NARROW = {
    "8 bits per input": quantized((96, 80), 8, 1),
    "4 bits in groups of outputs": quantized((96, 80), 4, 0, 32),
}


def both(operations, weights, x, isa=None, **ports):
    """What the Engine computes, its plan, and what it computes of decoded weights."""
    inputs = {name: (str(value.dtype), value.shape) for name, value in x.items()} | ports
    engine = Engine(program(inputs, operations, ["y"], weights), isa=isa)
    dense = {name: Dense(np.ascontiguousarray(decode(w))) for name, w in weights.items()}
    wanted = Engine(program(inputs, operations, ["y"], dense), isa=isa)(x)
    return engine(x), engine.explain(x), wanted


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("name", WEIGHTS)
def test_products(name, rows, isa):
    w, x = WEIGHTS[name], {"x": floats(rows, rows, 80)}
    for operation, weight in (
        (("Gemm", ["x", "w", "b"], ["y"], {"transB": 1, "alpha": 0.5}), w),
        (("MatMul", ["x", "w"], ["y"]), transpose(w, (1, 0))),
    ):
        bias = {"b": Dense(floats(7, 96))} if operation[0] == "Gemm" else {}
        got, (step,), wanted = both([operation], {"w": weight, **bias}, x, isa)
        close(got, wanted)
        assert step.kernel.startswith("codes+gemm/")
        assert step.note == ""
        if not isinstance(w, Codebook) or len(w.centroids) <= 256:
            assert step.weight_bytes < 2.6 * 96 * 80


def test_memory_is_that_of_the_bits():
    w = quantized((1024, 1024), 4, 1, 128)
    _, (step,), _ = both([("Gemm", ["x", "w"], ["y"], {"transB": 1})], {"w": w}, {"x": floats(0, 1, 1024)})
    assert step.weight_bytes <= 1024 * 1024 // 2 + 5 * 1024 * 8
    two = quantized((1024, 1024), 2, 1, 128)
    _, (step,), _ = both([("Gemm", ["x", "w"], ["y"], {"transB": 1})], {"w": two}, {"x": floats(0, 1, 1024)})
    assert step.weight_bytes <= 1024 * 1024 // 4 + 5 * 1024 * 8


@pytest.mark.parametrize("name", NARROW)
def test_scales_across_the_sum_are_decoded_and_said(name):
    x = {"x": floats(1, 5, 80)}
    got, (step,), wanted = both([("Gemm", ["x", "w"], ["y"], {"transB": 1})], {"w": NARROW[name]}, x)
    close(got, wanted)
    assert "scales change along the sum" in step.note


def test_a_transposed_left_matrix():
    x = {"x": floats(1, 80, 5)}
    got, (step,), wanted = both(
        [("Gemm", ["x", "w"], ["y"], {"transA": 1, "transB": 1})], {"w": WEIGHTS["codebook of 32"]}, x
    )
    close(got, wanted)
    assert step.kernel.startswith("codes+")


CONVS = {
    "3x3": ((64, 48, 3, 3), (1, 48, 9, 11), {"pads": (1, 1, 1, 1)}),
    "strided": ((40, 24, 3, 3), (2, 24, 10, 7), {"strides": (2, 2)}),
    "1x1": ((64, 96, 1, 1), (1, 96, 5, 5), {}),
    "groups": ((128, 16, 3, 3), (1, 32, 6, 6), {"group": 2}),
    "one dimension": ((48, 32, 5), (2, 32, 20), {"pads": (2, 2)}),
    "depthwise": ((32, 1, 3, 3), (1, 32, 9, 9), {"group": 32}),
    "7x7 of an image": ((64, 3, 7, 7), (1, 3, 24, 24), {"strides": (2, 2), "pads": (3, 3, 3, 3)}),
}
CONV_WEIGHTS = {
    "codebook of 20": lambda shape: shared(floats(1, *shape), 20),
    "codebook of 256": lambda shape: shared(floats(1, *shape), 256),
    "8 bits per channel": lambda shape: quantized(shape, 8, 0),
    "4 bits": lambda shape: quantized(shape, 4),
}


@pytest.mark.parametrize(("shape", "kind"), list(itertools.product(CONVS, CONV_WEIGHTS)))
def test_convolutions(shape, kind):
    sizes, image, attributes = CONVS[shape]
    w = CONV_WEIGHTS[kind](sizes)
    for isa in ISAS:
        got, steps, wanted = both([("Conv", ["x", "w", "b"], ["c"], attributes), ("Relu", ["c"], ["y"])],
                                  {"w": w, "b": Dense(floats(3, sizes[0]))}, {"x": floats(2, *image)}, isa)  # fmt: skip
        close(got, wanted)
        (step,) = steps
        assert step.kernel.startswith("codes+direct/") or "decoded: " in step.note
    if shape in ("1x1", "strided", "7x7 of an image", "one dimension"):
        assert step.kernel.startswith("codes+direct/")


def test_batch_normalization_is_folded_into_codes():
    for kind in CONV_WEIGHTS:
        w = CONV_WEIGHTS[kind]((64, 96, 1, 1))
        norm = {name: Dense(np.abs(floats(i, 64)) + 0.5) for i, name in enumerate(("s", "b", "m", "v"))}
        operations = [("Conv", ["x", "w"], ["c"]), ("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"])]
        got, (step,), wanted = both(operations, {"w": w, **norm}, {"x": floats(2, 1, 96, 5, 5)})
        close(got, wanted)
        assert step.kernel.startswith("codes+direct/")


@pytest.mark.parametrize("name", [*WEIGHTS, *NARROW])
@pytest.mark.parametrize("axis", [0, 1])
def test_rows_of_a_table(name, axis):
    w = (WEIGHTS | NARROW)[name]
    index = np.array([[3, -1], [0, 79]], np.int64)
    got, (step,), wanted = both([("Gather", ["w", "i"], ["y"], {"axis": axis})], {"w": w}, {"i": index})
    np.testing.assert_array_equal(got, wanted)
    assert step.kernel == "rows decoded one by one"
    assert step.weight_bytes < 2.6 * 96 * 80


def test_one_table_embeds_and_predicts():
    table = quantized((96, 80), 4, 1, 16)
    operations = [
        ("Gather", ["w", "i"], ["e"]),
        ("Transpose", ["w"], ["t"], {"perm": (1, 0)}),
        ("MatMul", ["e", "t"], ["y"]),
    ]
    got, steps, wanted = both(operations, {"w": table}, {"i": np.array([5, 90], np.int64)})
    close(got, wanted)
    assert [step.kernel.split("/")[0] for step in steps] == ["rows decoded one by one", "codes+gemm"]


def test_what_reads_no_codes_gets_numbers():
    w = quantized((96, 80), 4)
    got, (step,), wanted = both([("Add", ["x", "w"], ["y"])], {"w": w}, {"x": floats(0, 96, 80)})
    np.testing.assert_array_equal(got, wanted)
    assert step.weight_bytes == 4 * 96 * 80


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_share_panels(threads):
    w = WEIGHTS["4 bits in groups"]
    net = program({"x": ("float32", (64, 80))}, [("Gemm", ["x", "w"], ["y"], {"transB": 1})], ["y"], {"w": w})
    x = floats(3, 64, 80)
    close(Engine(net, threads=threads)(x), x @ decode(w).T)
