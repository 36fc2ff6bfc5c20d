import math

import numpy as np
import pytest
from measure_samples import program, two_layers

from gossamer.artifact import Operation
from gossamer.measure import Macs, macs
from gossamer.measure.shapes import input_shapes, value_shapes
from gossamer.weights import Dense, sparsify


def ones(*shape):
    return np.ones(shape, dtype=np.float32)


def operation(op, inputs, **attributes):
    return Operation(op, tuple(inputs.split()), ("y",), attributes)


# operation, weights, shape of x, shape of y by ONNX's rules
SHAPES = [
    (operation("Conv", "x w", pads=(1, 1, 1, 1)), {"w": ones(8, 3, 3, 3)}, (2, 3, 9, 7), (2, 8, 9, 7)),
    (operation("Conv", "x w", strides=(2, 3)), {"w": ones(8, 3, 3, 3)}, (2, 3, 9, 9), (2, 8, 4, 3)),
    (operation("Conv", "x w", dilations=(2,)), {"w": ones(4, 1, 3)}, (1, 1, 10), (1, 4, 6)),
    (
        operation("Conv", "x w", auto_pad="SAME_UPPER", strides=(2,)),
        {"w": ones(4, 1, 3)},
        (1, 1, 9),
        (1, 4, 5),
    ),
    (operation("ConvTranspose", "x w", strides=(2, 2)), {"w": ones(3, 5, 2, 2)}, (1, 3, 4, 4), (1, 5, 8, 8)),
    (operation("MaxPool", "x", kernel_shape=(3, 3), strides=(2, 2)), {}, (1, 2, 8, 8), (1, 2, 3, 3)),
    (
        operation("MaxPool", "x", kernel_shape=(3, 3), strides=(2, 2), ceil_mode=1),
        {},
        (1, 2, 8, 8),
        (1, 2, 4, 4),
    ),
    (operation("MaxPool", "x", kernel_shape=(1,), strides=(2,), ceil_mode=1), {}, (1, 2, 4), (1, 2, 2)),
    (operation("GlobalAveragePool", "x"), {}, (2, 3, 5, 5), (2, 3, 1, 1)),
    (operation("Gemm", "x w", transB=1), {"w": ones(6, 4)}, (3, 4), (3, 6)),
    (operation("MatMul", "x w"), {"w": ones(4, 6)}, (2, 5, 4), (2, 5, 6)),
    (operation("MatMul", "w x"), {"w": ones(6, 5)}, (2, 5, 4), (2, 6, 4)),
    (operation("Flatten", "x"), {}, (2, 3, 4), (2, 12)),
    (operation("Reshape", "x w"), {"w": np.array([0, -1])}, (2, 3, 4), (2, 12)),
    (operation("Transpose", "x", perm=(0, 2, 1)), {}, (2, 3, 4), (2, 4, 3)),
    (operation("Concat", "x x", axis=1), {}, (2, 3), (2, 6)),
    (operation("Add", "x w"), {"w": ones(3, 1, 1)}, (2, 3, 4, 4), (2, 3, 4, 4)),
    (operation("ReduceMean", "x w", keepdims=0), {"w": np.array([2, 3])}, (2, 3, 4, 4), (2, 3)),
    (operation("Squeeze", "x w"), {"w": np.array([-1])}, (2, 3, 1), (2, 3)),
    (operation("Unsqueeze", "x w"), {"w": np.array([0, 3])}, (2, 3), (1, 2, 3, 1)),
    (operation("Pad", "x w"), {"w": np.array([0, 1, 0, 2])}, (2, 3), (2, 6)),
]


@pytest.mark.parametrize(
    ("made", "weights", "given", "expected"), SHAPES, ids=lambda v: getattr(v, "op", None)
)
def test_shape_rules(made, weights, given, expected):
    assert value_shapes(program([made], weights, {"x": given}), {"x": given})["y"] == expected


def test_shape_rules_are_those_of_onnx():
    onnx = pytest.importorskip("onnx")
    from gossamer.onnx import to_onnx

    for made, weights, given, _ in SHAPES:
        small = program([made], weights, {"x": given})
        inferred = onnx.shape_inference.infer_shapes(to_onnx(small), data_prop=True).graph.output[0]
        sizes = tuple(d.dim_value for d in inferred.type.tensor_type.shape.dim)
        if math.prod(sizes):  # onnx knows it too
            assert value_shapes(small, {"x": given})["y"] == sizes, made.op


def test_linear_layers_count_kept_weights():
    small = two_layers(hidden=16)
    total, by_weight = macs(small)
    kept = len(small.weights["w1"].positions)
    assert by_weight == {"w1": Macs(128, kept), "b1": Macs(0, 0), "w2": Macs(64, 64), "b2": Macs(0, 0)}
    assert total == Macs(192, 64 + kept)


def test_grouped_convolution():
    depthwise = operation("Conv", "x w", group=8, pads=(1, 1, 1, 1))
    total, _ = macs(program([depthwise], {"w": ones(8, 1, 3, 3)}, {"x": ("batch", 8, 5, 5)}))
    assert total == Macs(8 * 9 * 25, 8 * 9 * 25)


def test_a_shared_weight_counts_every_time():
    twice = [Operation("MatMul", ("x", "w"), ("h",)), Operation("MatMul", ("h", "w"), ("y",))]
    half = np.triu(ones(4, 4))
    total, _ = macs(program(twice, {"w": sparsify(Dense(half))}, {"x": ("batch", 4)}))
    assert total == Macs(32, 20)


def test_a_weight_behind_dequantize_and_transpose():
    steps = [
        Operation("DequantizeLinear", ("w", "s"), ("d",)),
        Operation("Transpose", ("d",), ("t",)),
        Operation("MatMul", ("x", "t"), ("y",)),
    ]
    weights = {"w": np.ones((6, 4), dtype=np.int8), "s": np.array(0.5, dtype=np.float32)}
    assert macs(program(steps, weights, {"x": ("batch", 4)}))[1]["w"] == Macs(24, 24)


def test_products_of_activations_are_in_the_total():
    scores = [Operation("MatMul", ("q", "k"), ("y",))]
    total, layers = macs(program(scores, {}, {"q": ("batch", 2, 5, 8), "k": ("batch", 2, 8, 5)}))
    assert total == Macs(2 * 5 * 5 * 8, 2 * 5 * 5 * 8)
    assert layers == {}


def test_what_is_known_only_at_run_time_is_not_made_up():
    text = program(
        [Operation("MatMul", ("x", "w"), ("y",))], {"w": ones(4, 4)}, {"x": ("batch", "length", 4)}
    )
    assert macs(text) == (None, {"w": None})
    assert input_shapes(text, 2, {"length": 7}) == {"x": (2, 7, 4)}


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5", "residual_cnn"])
def test_whole_number_agreement_with_the_graphs_cost(name):
    import torch

    from gossamer import networks, trace
    from gossamer.graph import cost
    from gossamer.onnx import lower

    torch.manual_seed(0)
    graph = trace(getattr(networks, name)().eval(), torch.randn(2, 1, 28, 28))
    for layer in graph.parameters():
        if layer.dim() > 1:
            layer.data[torch.rand_like(layer) < 0.7] = 0
    counted, (total, by_weight) = cost(graph), macs(lower(graph))
    assert total == Macs(counted.macs, counted.executed_macs)
    for layer in counted.layers:
        assert by_weight[layer.weight] == Macs(layer.macs, layer.executed_macs)
