"""Operators at odd shapes and settings against ONNX Runtime, or the standard's reference where that lacks them."""

from __future__ import annotations

import zlib

import numpy as np
import onnx.reference
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from gossamer import _native
from gossamer.artifact import onnx_reader
from gossamer.engine import Engine
from gossamer.errors import GossamerError

ISAS = sorted({_native.machine_isas()[0], _native.machine_isas()[-1]})


def array(*shape, dtype=np.float32):
    values = np.random.default_rng(zlib.crc32(repr(shape).encode())).standard_normal(shape)
    return (values * 10).astype(dtype) if np.issubdtype(dtype, np.integer) else values.astype(dtype)


def whole(*values):
    return np.array(values, np.int64)


def float16(*shape):
    return array(*shape, dtype=np.float16)


def network(op, inputs, attributes, opset, types):
    """The first input is given, the others are weights; None: absent. ``types``: of the outputs, "": absent."""
    names = ["" if given is None else f"i{number}" for number, given in enumerate(inputs)]
    outputs = [f"y{number}" if dtype else "" for number, dtype in enumerate(types)]
    kind = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        [helper.make_node(op, names, outputs, **attributes)],
        op,
        [helper.make_tensor_value_info("i0", kind(inputs[0].dtype), inputs[0].shape)],
        [
            helper.make_tensor_value_info(name, kind(np.dtype(dtype)), None)
            for name, dtype in zip(outputs, types, strict=True)
            if name
        ],
        [
            numpy_helper.from_array(given, name)
            for name, given in zip(names[1:], inputs[1:], strict=True)
            if name
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def reference(model, x):
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"i0": x})
    except Exception:
        return onnx.reference.ReferenceEvaluator(model).run(None, {"i0": x})


def resize(shape, scales, **attributes):
    return "Resize", [array(*shape), None, np.float32(scales)], attributes, 18


def pad(shape, pads, mode="constant", value=None, dtype=np.float32):
    value = None if value is None else np.array(value, dtype)
    return "Pad", [array(*shape, dtype=dtype), whole(*pads), value], {"mode": mode}, 18


def einsum(equation, *shapes):
    return "Einsum", [array(*shape) for shape in shapes], {"equation": equation}, 17


def reduced(op, shape, *axes, dtype=np.float32):
    return op, [np.abs(array(*shape, dtype=dtype)) + dtype(0.5), whole(*axes)], {}, 18


CASES = [
    resize((1, 3, 1, 1), [1, 1, 3, 5], mode="linear"),
    resize((2, 1, 5, 7), [1, 1, 0.4, 2.6], mode="linear"),
    resize((1, 2, 5, 4), [1, 1, 2, 1.5], mode="linear", coordinate_transformation_mode="align_corners"),
    resize((1, 2, 300, 3), [1, 1, 1.3, 1], mode="linear"),
    resize((1, 1, 3, 300), [1, 1, 1.5, 1], mode="linear"),
    resize((1, 2, 5, 9), [1, 1, 1.7, 0.6], mode="cubic"),
    resize((1, 2, 5, 9), [1, 1, 0.6, 0.7], mode="cubic", exclude_outside=1),
    resize((1, 2, 12, 9), [1, 1, 0.3, 0.5], mode="linear", antialias=1),
    resize((3, 2, 5, 7), [1, 1, 2, 2], mode="nearest"),
    resize((3, 2, 5, 7), [1, 1, 0.5, 3.1], mode="nearest", nearest_mode="ceil"),
    resize((4, 3), [2, 2], mode="nearest", coordinate_transformation_mode="asymmetric"),
    (
        "Resize",
        [array(1, 1, 6, 5), np.float32([0, 0, -0.2, 0.1, 1, 1, 0.8, 1.3]), None, whole(1, 1, 4, 7)],
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.5},
        13,
    ),
    pad((2, 3, 4), (0, 1, 2, 0, 0, 3)),
    pad((2, 3, 4), (0, 1, 2, 1, 0, 3), value=2.5),
    pad((4, 5), (-1, 2, 3, -2), value=1),
    pad((4, 5), (-1, 2, 3, -2), "edge"),
    pad((4, 5), (1, -2, 2, -1), "reflect"),
    pad((4, 5), (0, 3, 0, -4)),
    pad((1, 1, 1), (0, 2, 1, 0, 1, 2), "edge"),
    pad((3, 4, 5), (1, 0, 0, 2, 0, 0), "reflect"),
    pad((3, 4), (2, 3, 1, 0), "wrap"),
    pad((0, 2), (1, 1, 2, 0), value=3),
    pad((3, 5), (1, 1, 0, 2), value=7, dtype=np.int8),
    pad((3, 5), (1, 1, 0, 2), "reflect", dtype=np.int64),
    pad((3, 5), (0, 0, 0, 0)),
    einsum("ij,jk->ik", (5, 7), (7, 9)),
    einsum("hid,hjd->hij", (3, 5, 8), (3, 6, 8)),
    einsum("hij,hjd->hid", (3, 5, 6), (3, 6, 8)),
    einsum("bsd,dhk->bshk", (2, 5, 8), (8, 3, 4)),
    einsum("bhwc,hkc->bhwk", (2, 3, 4, 8), (3, 5, 8)),
    einsum("bhwc,wkc->bhwk", (2, 3, 4, 8), (4, 5, 8)),
    einsum("abc,cbd->da", (3, 4, 5), (5, 4, 6)),
    einsum("...ij,...kj->...ik", (2, 3, 5, 7), (2, 3, 4, 7)),
    einsum("...ij,...jk->...ik", (2, 1, 5, 7), (2, 3, 7, 4)),
    einsum("ij,kl->ijkl", (9, 3), (4, 5)),
    einsum("ij,ij->i", (9, 70), (9, 70)),
    einsum("ij,jk->k", (5, 7), (7, 9)),
    einsum("ii,ij->ij", (5, 5), (5, 4)),
    einsum("ij,jk,kl->il", (5, 7), (7, 9), (9, 2)),
    ("Einsum", [float16(4, 16), float16(16, 8)], {"equation": "ij,jk->ik"}, 17),
    ("Relu", [float16(3, 7)], {}, 17),
    ("Sigmoid", [float16(3, 333)], {}, 17),
    ("Add", [float16(3, 7), float16(7)], {}, 17),
    ("Clip", [float16(3, 7), np.float16(-0.5), np.float16(0.75)], {}, 17),
    ("Max", [float16(3, 7), float16(3, 1)], {}, 17),
    ("ReduceMean", [float16(3, 70)], {"axes": [1]}, 13),
    ("Cast", [np.float32([65504, 65519, 65520, 1e9, -1e-8, 6e-8, np.inf])], {"to": 10}, 17, [np.float16]),
    ("PRelu", [array(2, 3, 4, 5), array(3, 1, 1)], {}, 16),
    ("PRelu", [array(2, 3), array(1)], {}, 16),
    ("PRelu", [array(2, 3, dtype=np.int32), array(3, dtype=np.int32)], {}, 16),
    ("InstanceNormalization", [array(2, 3, 5, 7), array(3), array(3)], {"epsilon": 1e-3}, 17),
    ("InstanceNormalization", [array(1, 2, 1), array(2), array(2)], {}, 17),
    ("GroupNormalization", [array(2, 6, 5), array(6), array(6)], {"num_groups": 3}, 21),
    ("GroupNormalization", [array(2, 6, 5), array(3), array(3)], {"num_groups": 3}, 18),
    *(reduced(op, (3, 37), -1) for op in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")),
    *(reduced(op, (3, 4, 2, 37), 0, 2) for op in ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp")),
    reduced("ReduceL2", (3, 4), dtype=np.float16),
    ("DynamicQuantizeLinear", [array(3, 50)], {}, 17, [np.uint8, np.float32, np.uint8]),
    ("DynamicQuantizeLinear", [np.float32([1, 2, 5])], {}, 17, [np.uint8, np.float32, np.uint8]),
    ("DynamicQuantizeLinear", [np.zeros(4, np.float32)], {}, 17, [np.uint8, np.float32, np.uint8]),
    ("MaxPool", [array(2, 3, 5, 6, 7)],
     {"kernel_shape": [2, 3, 2], "strides": [2, 1, 3], "pads": [1, 0, 1, 0, 2, 0]}, 17),
    ("MaxPool", [array(1, 2, 5, 6)], {"kernel_shape": [3, 2], "dilations": [2, 1]}, 17, [np.float32, np.int64]),
    ("MaxPool", [array(1, 2, 5, 6, dtype=np.int8)], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}, 17),
    ("AveragePool", [array(2, 3, 5, 6, 7)], {"kernel_shape": [2, 2, 2], "pads": [1, 0, 1, 0, 1, 0]}, 17),
    ("AveragePool", [array(1, 1, 5, 5, 5)], {"kernel_shape": [2, 2, 2], "pads": [1] * 6, "count_include_pad": 1}, 17),
    ("LpPool", [array(1, 2, 6, 6)], {"kernel_shape": [3, 2], "p": 3}, 17),
    ("Conv", [array(1, 2, 4, 5, 6), array(3, 2, 2, 3, 2)], {"pads": [1, 0, 1, 0, 1, 2], "strides": [1, 2, 1]}, 17),
    ("MatMul", [array(3, 4, dtype=np.int32), array(4, 5, dtype=np.int32)], {}, 17),
    ("MatMul", [array(2, 1, 3, 4, dtype=np.int64), array(3, 4, 5, dtype=np.int64)], {}, 17),
    ("MatMul", [np.int32([2**31 - 1, 7]), np.int32([3, -5])], {}, 17),
    ("CastLike", [array(3, 4), np.int8([1])], {}, 19, [np.int8]),
    *(
        ("GridSample", [array(2, 3, 4, 5), 1.5 * array(2, 3, 7, 2)],
         {"mode": mode, "padding_mode": padding, "align_corners": aligned}, 16)
        for mode in ("nearest", "bilinear", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for aligned in (0, 1)
    ),
    ("GridSample", [array(1, 1, 1, 1), 3 * array(1, 2, 2, 2)], {"padding_mode": "reflection", "align_corners": 1}, 16),
    ("GridSample", [array(2, 3, 2, 4, 5), 1.5 * array(2, 2, 3, 2, 3)],
     {"mode": "bilinear", "padding_mode": "border"}, 16),
    ("GridSample", [array(2, 3, 2, 4, 5), 1.5 * array(2, 2, 3, 2, 3)], {"mode": "nearest", "align_corners": 1}, 16),
    ("Col2Im", [array(2, 12, 4), whole(5, 5), whole(2, 3)],
     {"strides": [2, 2], "dilations": [1, 1], "pads": [0, 0, 0, 0]}, 18),
    *(("DFT", [array(2, n, 1), None, whole(1)[0]], {"onesided": one}, 20) for n in (1, 2, 7, 16, 37) for one in (0, 1)),
    *(("DFT", [array(2, n, 2), None, whole(1)[0]], {"inverse": 1}, 20) for n in (1, 6, 16, 37)),
    ("DFT", [array(2, 9, 3, 1), whole(12)[0], whole(1)[0]], {}, 20),
    ("STFT", [array(2, 50, 1), whole(7)[0], np.abs(array(16)), whole(16)[0]], {}, 17),
    ("STFT", [array(1, 40, 1), whole(5)[0], None, whole(12)[0]], {"onesided": 0}, 17),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_against_another_runtime(case):
    op, inputs, attributes, opset, *rest = case
    model = network(op, inputs, attributes, opset, rest[0] if rest else [inputs[0].dtype])
    wanted = reference(model, inputs[0])
    program = onnx_reader.parse(model.SerializeToString())
    tolerance = 2e-3 if inputs[0].dtype == np.float16 else 1e-4 if op in ("DFT", "STFT", "Resize") else 3e-5
    for isa in ISAS:
        for threads in (1, 2):
            got = Engine(program, isa=isa, threads=threads)(inputs[0])
            for mine, theirs in zip(got.values() if isinstance(got, dict) else [got], wanted, strict=True):
                assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
                np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "opset"),
    [
        pad((2, 3), (0, -4, 0, 0)),
        pad((2, 3), (2**40, 0, 0, 0)),
        pad((0, 3), (1, 0, 0, 0), "edge"),
        ("GridSample", [array(1, 1, 0, 3), array(1, 2, 2, 2)], {}, 16),
        ("Col2Im", [array(1, 12, 5), whole(5, 5), whole(2, 3)], {}, 18),
        ("Col2Im", [array(1, 12, 5), whole(-1, 5), whole(2, 3)], {}, 18),
        ("Col2Im", [array(1, 12, 5), whole(2**30, 2**30), whole(2, 3)], {}, 18),
        ("DFT", [array(2, 3, 1), whole(0)[0]], {}, 17),
        ("DFT", [array(2, 3, 1), whole(2**40)[0]], {}, 17),
        ("STFT", [array(1, 40, 1), whole(0)[0], None, whole(12)[0]], {}, 17),
        ("STFT", [array(1, 40, 1), whole(3)[0], None, whole(41)[0]], {}, 17),
        ("MatMul", [array(3, 4, dtype=np.int32), array(5, 4, dtype=np.int32)], {}, 17),
        ("HannWindow", [whole(-1)[0]], {}, 17),
        ("HannWindow", [whole(2**40)[0]], {}, 17),
    ],
)
def test_what_does_not_fit_is_refused(op, inputs, attributes, opset):
    with pytest.raises(GossamerError, match=f"{op}|more than 2"):
        Engine(onnx_reader.parse(network(op, inputs, attributes, opset, [np.float32]).SerializeToString()))(
            inputs[0]
        )


@pytest.mark.parametrize(
    ("case", "note"),
    [
        (resize((1, 2, 5, 3), [1, 1, 2, 2], mode="linear"), "double precision"),
        (("MaxPool", [array(1, 1, 4, 4, 4)], {"kernel_shape": [2, 2, 2]}, 17), "three or more spatial"),
        (("Equal", [array(3), array(3)], {}, 17, [np.bool_]), "no kernel has this operator for float32"),
        (einsum("ij,jk,kl->il", (5, 7), (7, 9), (9, 2)), "no product of two"),
    ],
)
def test_loops_without_a_kernel_say_why(case, note):
    op, inputs, attributes, opset, *rest = case
    model = network(op, inputs, attributes, opset, rest[0] if rest else [np.float32])
    step = Engine(onnx_reader.parse(model.SerializeToString())).explain(inputs[0])[0]
    assert step.kernel == "plain loop" and note in step.note


def test_a_window_of_every_size():
    for op in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        for size, periodic in [(0, 1), (1, 1), (2, 0), (5, 0), (8, 1)]:
            model = network(op, [np.int64(size)], {"periodic": periodic}, 17, [np.float32])
            wanted = onnx.reference.ReferenceEvaluator(model).run(None, {"i0": np.int64(size)})[0]
            got = Engine(onnx_reader.parse(model.SerializeToString()))(np.int64(size))
            np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_grids_that_point_nowhere():
    grid = np.float32([np.nan, np.inf, -np.inf, 1e30, 3e38, 0]).reshape(1, 1, 3, 2)
    for mode in ("nearest", "bilinear", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            case = network(
                "GridSample",
                [array(1, 2, 3, 3), grid],
                {"mode": mode, "padding_mode": padding},
                16,
                [np.float32],
            )
            assert np.isfinite(Engine(onnx_reader.parse(case.SerializeToString()))(array(1, 2, 3, 3))).all()
