"""Quantized networks: what the integer operators compute is what the float operators between QuantizeLinear and
DequantizeLinear say, as ONNX Runtime computes them; to the last bit the same on every instruction set."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from quantized_nets import Net, Quantized

from gossamer import _native
from gossamer.engine import Engine

ISAS = list(_native.machine_isas())


@pytest.fixture
def load(tmp_path):
    """Engines of a model, for every instruction set; and ONNX Runtime's outputs, nothing fused."""
    onnxruntime.set_default_logger_severity(3)

    def loaded(model: onnx.ModelProto, threads: int = 1):
        path = tmp_path / "net.onnx"
        onnx.save(model, path)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return {isa: Engine(path, isa=isa, threads=threads) for isa in ISAS}, lambda x: session.run(
            None, {"x": x}
        )[0]

    return loaded


def inputs(net: Net, batch: int) -> np.ndarray:
    return (np.random.default_rng(batch).standard_normal((batch, *net.shape)) * net.spread).astype(np.float32)


def assert_steps(
    got: np.ndarray, wanted: np.ndarray, step: float, most: float = 1, differ: float = 0.01, distinct: int = 9
) -> None:
    """Equal but for ``most`` quantization steps, and at all but for one element in a hundred."""
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    if not got.size:
        return
    steps = np.abs(got.astype(np.float64) - wanted.astype(np.float64)) / step
    assert steps.max() <= most + 0.01, f"{steps.max()} steps"
    assert (steps > 0.5).sum() <= max(1, differ * steps.size), (
        f"{(steps > 0.5).mean():.2%} of the elements differ"
    )
    assert got.size < 100 or len(np.unique(wanted)) >= distinct, "the case distinguishes nothing"


def kernels(engine: Engine, x: np.ndarray) -> set[str]:
    return {step.kernel.split("/")[0] for step in engine.explain(x)}


def check(
    load,
    net: Net,
    output: Quantized,
    expected: set[str] = frozenset(),
    never: set[str] = frozenset(),
    most: float = 1,
) -> None:
    engines, reference = load(net.model(output))
    for batch in (1, 3):
        x = inputs(net, batch)
        first = engines[ISAS[0]](x)
        assert_steps(first, reference(x), output.scale, most)
        for isa in ISAS[1:]:
            np.testing.assert_array_equal(engines[isa](x), first, err_msg=isa)
    for engine in engines.values():
        found = kernels(engine, inputs(net, 1))
        assert expected <= found and not never & found, found


def maxima(net: Net, x: Quantized) -> Quantized:
    return net.pool("MaxPool", x, 3, 1, 1)


def swish(net: Net, x: Quantized) -> Quantized:
    return net.binary("Mul", x, net.unary("Sigmoid", x))


def excited(net: Net, x: Quantized) -> Quantized:
    """Squeeze and excitation: each channel times a number made of the means of all."""
    return net.binary("Mul", x, net.unary("Sigmoid", net.conv(net.mean(x), x.shape[0])))


# Kernels of float operators that have an integer form.
FLOATS = {
    "gemm",
    "conv",
    "direct",
    "depthwise",
    "winograd2",
    "winograd4",
    "winograd6",
    "pool",
    "binary",
    "unary",
}

# What each case does to x, and kernels that must be among those that do it.
CASES = {
    "conv": ((5, 9, 9), lambda n, x: n.conv(x, 7, 3, pad=1), set()),
    "conv1d": ((6, 40), lambda n, x: n.conv(x, 5, 5, stride=2, pad=2), set()),
    "one-channel": ((1, 12, 14), lambda n, x: n.conv(x, 9, 5), set()),
    "one-channel-padded": ((1, 9, 11), lambda n, x: n.conv(x, 9, 3, stride=2, pad=1, activation="Relu"), set()),
    "one-channel-wide": ((1, 200), lambda n, x: n.conv(x, 5, 10, stride=5, pad=4), set()),
    "one-channel-narrow": ((1, 7, 2), lambda n, x: n.conv(x, 5, 7, pad=3), set()),
    "one-channel-stride-3": ((1, 20, 23), lambda n, x: n.conv(x, 5, 7, stride=3, pad=2), set()),
    "colours-7-2": ((3, 31, 33), lambda n, x: n.conv(x, 18, 7, stride=2, pad=3, activation="Relu"), set()),
    "colours-5": ((3, 12, 11), lambda n, x: n.conv(x, 16, 5, pad=2), set()),
    "colours-11-4": ((3, 47, 40), lambda n, x: n.conv(x, 17, 11, stride=4, pad=2), set()),
    "colours-5-3": ((3, 23, 20), lambda n, x: n.conv(x, 16, 5, stride=3), set()),
    "colours-1d": ((3, 90), lambda n, x: n.conv(x, 16, 7, stride=2, pad=3), set()),
    "two-channels": ((2, 19, 17), lambda n, x: n.conv(x, 16, 3, stride=2, pad=1), set()),
    "two-channels-4": ((2, 19, 17), lambda n, x: n.conv(x, 16, 4, stride=4, pad=1), set()),
    "conv-one-scale": ((4, 8, 8), lambda n, x: n.conv(x, 8, 1, per_channel=False), set()),
    "conv-grouped": ((8, 9, 9), lambda n, x: n.conv(x, 12, 3, pad=1, group=4, activation="Relu"), set()),
    "depthwise": ((7, 15, 15), lambda n, x: n.depthwise(x, pad=1, activation="Relu6"), {"depthwise_cells"}),
    "depthwise-5-2": ((9, 20, 17), lambda n, x: n.depthwise(x, 5, stride=2, pad=2), {"depthwise_cells"}),
    "depthwise-dilated": ((4, 20, 20), lambda n, x: n.depthwise(x, pad=2, dilation=2), {"depthwise_cells"}),
    "depthwise-1d": ((5, 50), lambda n, x: n.depthwise(x, pad=1, activation="Relu"), {"depthwise_cells"}),
    "depthwise-stride-5": ((5, 30, 30), lambda n, x: n.depthwise(x, stride=5), {"cell_bytes"}),
    "multiplier-2": ((5, 10, 10), lambda n, x: n.conv(x, 10, 3, pad=1, group=5), set()),
    "depthwise-residual": ((6, 9, 9), lambda n, x: n.add(n.depthwise(n.conv(x, 6), pad=1), n.conv(x, 6)), set()),
    "residual": ((6, 9, 9), lambda n, x: n.add(n.conv(x, 5), n.conv(x, 5, 3, pad=1), "Relu"), set()),
    "residual-of-a-mean": ((6, 9, 9), lambda n, x: n.add(n.conv(n.mean(n.conv(x, 5)), 5), n.conv(x, 5)), set()),
    "residual-of-the-wider": ((6, 9, 9), lambda n, x: n.add(n.conv(x, 5), n.mean(n.conv(x, 5))), set()),
    "sum-of-maxima": ((6, 9, 9), lambda n, x: n.add(maxima(n, n.conv(x, 5)), maxima(n, n.conv(x, 5))), {"byte_add"}),
    "twice": ((6, 9, 9), lambda n, x: (lambda y: n.add(y, y))(n.conv(x, 5)), {"byte_add"}),
    "max-pool": ((3, 17, 30), lambda n, x: n.pool("MaxPool", n.conv(x, 5), 3, 2, 1), {"cell_max_pool"}),
    "average-pool": ((3, 17, 30), lambda n, x: n.pool("AveragePool", n.conv(x, 5), 3, 2, 1), {"cell_average_pool"}),
    "average-pool-padded": (
        (3, 17, 30),
        lambda n, x: n.pool("AveragePool", n.conv(x, 5), 3, 1, 1, count_include_pad=1),
        {"cell_average_pool"},
    ),
    "mean": ((3, 17, 30), lambda n, x: n.mean(n.conv(x, 37)), {"cell_mean"}),
    "mean-conv": ((3, 8, 8), lambda n, x: n.conv(n.mean(n.conv(x, 37)), 9), {"cell_mean"}),
    "squeeze-excite": (
        (6, 9, 9),
        lambda n, x: excited(n, n.conv(x, 10, activation="Relu")),
        {"byte_multiply", "byte_lookup", "cell_mean"},
    ),
    "swish": ((6, 9, 9), lambda n, x: swish(n, n.conv(x, 10)), {"byte_multiply"}),
    "hard-swish": ((6, 9, 9), lambda n, x: n.unary("HardSwish", n.conv(x, 10)), {"byte_lookup"}),
    "plus-three": ((6, 9, 9), lambda n, x: n.scalar("Add", n.conv(x, 10), 3.0), {"byte_lookup"}),
    "a-sixth": ((6, 9, 9), lambda n, x: n.scalar("Div", n.conv(x, 10), 6.0), {"byte_lookup"}),
    "relu-alone": ((6, 9, 9), lambda n, x: n.unary("Relu", maxima(n, n.conv(x, 10))), {"byte_lookup"}),
    "concat": ((6, 9, 9), lambda n, x: n.concat([n.conv(x, 8), n.conv(x, 3), n.conv(x, 5)], False), {"cell_channels"}),
    "concat-planes": ((6, 9, 9), lambda n, x: n.concat([n.conv(x, 8), n.conv(x, 4)], False), {"cell_channels"}),
    "split": ((6, 9, 9), lambda n, x: n.concat(n.split(n.conv(x, 11), 4, 5, 2)[::-1], True), {"cell_channels"}),
    "split-planes": ((6, 9, 9), lambda n, x: n.add(*n.split(n.conv(x, 16), 8, 8)), {"cell_channels"}),
    "channels": ((6, 9, 9), lambda n, x: n.conv(n.channels(n.conv(x, 9), -7, 99), 5), {"cell_channels"}),
    "channels-rescaled": ((6, 50), lambda n, x: n.channels(n.conv(x, 9), 4, 7, 0.05), {"cell_channels"}),
    "shuffled": ((6, 5, 9), lambda n, x: n.conv(n.shuffled(n.conv(x, 15), 3), 4), {"cell_channels"}),
    "shuffled-1d": ((6, 40), lambda n, x: n.conv(n.shuffled(n.conv(x, 8), 2), 4), {"cell_channels"}),
    "linear": ((6, 3, 3), lambda n, x: n.linear(n.conv(x, 10, activation="Relu"), 11), set()),
    "moved-then-conv": ((6, 8, 8), lambda n, x: n.conv(n.transposed(n.conv(x, 5)), 7, 3), set()),
    "padded": ((3, 9, 9), lambda n, x: n.depthwise(n.padded(n.conv(n.padded(x, 1), 6, 3), 2), pad=1), set()),
    "tiny": ((1, 1, 1), lambda n, x: n.conv(x, 1), set()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("signed", [False, True])
def test_an_operator(load, name, signed):
    shape, grow, expected = CASES[name]
    net = Net(len(name), shape, signed)
    check(load, net, grow(net, net.input), expected, FLOATS)


def grown(seed: int) -> tuple[Net, Quantized]:
    """A random network: a few operators, each of one of the last tensors."""
    rng = np.random.default_rng(seed)
    one = rng.random() < 0.2
    shape = (
        int(rng.choice([1, 3, 4, 7])),
        *([int(rng.integers(8, 40))] if one else rng.integers(6, 18, 2).tolist()),
    )
    net = Net(seed, shape, signed=bool(rng.random() < 0.4))
    tensors = [net.conv(net.input, int(rng.choice([3, 5, 8, 16])), 3, pad=1, activation="Relu")]
    for _ in range(int(rng.integers(3, 8))):
        x = tensors[int(rng.integers(max(0, len(tensors) - 3), len(tensors)))]
        large = min(x.shape[1:]) >= 3
        peers = [t for t in tensors if t.shape == x.shape]
        peer = peers[int(rng.integers(len(peers)))]
        activation = [None, "Relu", "Relu6"][int(rng.integers(3))]
        choice = int(rng.integers(11))
        if choice <= 1:
            y = net.conv(
                x, int(rng.choice([1, 4, 6, 12])), activation=activation, bias=bool(rng.random() < 0.7)
            )
        elif choice == 2:
            kernel = 3 if large else 1
            y = net.conv(
                x,
                int(rng.choice([2, 8])),
                kernel,
                int(rng.integers(1, 3)),
                kernel // 2,
                activation=activation,
            )
        elif choice in (3, 4):
            y = net.depthwise(
                x, int(rng.choice([1, 3, 5])), stride=int(rng.integers(1, 3)), pad=2, activation=activation
            )
        elif choice == 5:
            y = net.add(x, peer, activation)
        elif choice == 6:
            y = net.binary("Mul", x, peer if rng.random() < 0.5 else net.mean(x))
        elif choice == 7:
            y = net.pool(
                *[("MaxPool", x, 3, 2, 1), ("AveragePool", x, 2, 1)][int(rng.integers(2)) if large else 0]
            )
        elif choice == 8:
            y = net.concat([x, peer, x][: int(rng.integers(2, 4))], bool(rng.random() < 0.3))
        elif choice == 9:
            y = net.unary(["Sigmoid", "HardSigmoid", "Tanh", "Relu"][int(rng.integers(4))], x)
        else:
            y = net.conv(net.mean(x), x.shape[0], activation=activation)
            y = net.binary("Mul", x, y)
        tensors.append(y)
    return net, tensors[-1]


@pytest.mark.parametrize("seed", range(20))
def test_channels_that_are_parted_joined_and_shuffled(load, seed):
    rng = np.random.default_rng(seed)
    net = Net(seed, (4, *rng.integers(2, 9, 1 + seed % 2).tolist()), signed=bool(seed % 3))
    tensors = [net.conv(net.input, int(count)) for count in rng.choice([6, 8, 12], 2)]
    for _ in range(6):
        x = tensors[int(rng.integers(len(tensors)))]
        channels, choice = x.shape[0], int(rng.integers(4))
        if choice == 0 and channels > 1:
            first = int(rng.integers(1, channels))
            tensors += net.split(x, first, channels - first)
        elif choice == 1 and channels > 1:
            begin = int(rng.integers(channels))
            scale = None if rng.random() < 0.6 else 1.3 * x.scale
            tensors.append(net.channels(x, begin, int(rng.integers(begin + 1, channels + 1)), scale))
        elif choice == 2:
            groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
            tensors.append(net.shuffled(x, groups, bool(rng.random() < 0.8)))
        else:
            tensors.append(net.concat([x, tensors[-1]], bool(rng.random() < 0.5)))
    check(load, net, net.conv(net.concat(tensors[-4:], False), 5))


def test_parts_that_stay_float_are_dequantized(load):
    net = Net(0, (4, 5, 5))
    y = net.conv(net.input, 9)
    part, rest, whole = "part", "rest", net.dequantize(y)
    net.nodes.append(onnx.helper.make_node("Split", [whole], [part, "unread", rest], axis=-3))
    total = net.node("Add", [net.node("Exp", [part]), rest])
    check(load, net, net.quantize(total, (3, 5, 5)), {"cell_channels"})


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(load, seed):
    net, output = grown(seed)
    engines, reference = load(net.model(output))
    for batch in (1, 2):
        x = inputs(net, batch)
        first, wanted = engines[ISAS[0]](x), reference(x)
        # A tie that falls the other way moves what is computed from it by a fraction of a step.
        assert_steps(first, wanted, output.scale, most=3, differ=0.05, distinct=1)
        for isa in ISAS[1:]:
            np.testing.assert_array_equal(engines[isa](x), first, err_msg=isa)
    assert not FLOATS & kernels(engines[ISAS[-1]], inputs(net, 1))


@pytest.mark.parametrize("signed", [False, True])
def test_batches_and_threads(load, signed):
    net = Net(3, (3, 33, 31), signed)
    x = net.depthwise(net.conv(net.input, 24, 3, 2, 1, activation="Relu"), pad=1)
    x = net.pool("MaxPool", net.add(x, net.conv(x, 24)), 3, 2, 1)
    output = net.conv(net.binary("Mul", x, net.unary("Sigmoid", net.mean(x))), 10)
    engines, reference = load(net.model(output), threads=2)
    for engine in engines.values():
        for batch in (0, 1, 3):
            assert_steps(engine(inputs(net, batch)), reference(inputs(net, batch)), output.scale)


@pytest.mark.parametrize("name", ["conv", "conv1d", "depthwise", "mean", "linear", "padded", "max-pool"])
@pytest.mark.parametrize("signed", [False, True])
def test_floats_are_the_output(load, name, signed):
    """Where no QuantizeLinear follows, integer sums become float32."""
    shape, grow, _ = CASES[name]
    net = Net(7, shape, signed)
    output = grow(net, net.input)
    engines, reference = load(net.model(output, rounded=False))
    x = inputs(net, 2)
    wanted = reference(x)
    for engine in engines.values():
        got = engine(x)
        assert got.dtype == np.float32 and got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("signed", [False, True])
def test_bytes_are_the_output(load, signed):
    net = Net(4, (3, 12, 12), signed)
    output = net.depthwise(net.conv(net.input, 6), pad=1)
    engines, reference = load(net.model(output, dequantized=False))
    for engine in engines.values():
        assert_steps(engine(inputs(net, 2)), reference(inputs(net, 2)), 1)


def test_shared_constants(load):
    net = Net(6, (3, 12, 12))
    net.shares = True
    check(load, net, net.depthwise(net.conv(net.input, 8), pad=1), {"depthwise_cells"}, FLOATS)


def test_a_tensor_that_others_read_too(load):
    """What is fused away for one reader is still there for another, and for the output."""
    net = Net(5, (3, 12, 12))
    a = net.conv(net.input, 8)
    b = net.add(a, net.conv(net.input, 8))
    output = net.concat([a, b, net.pool("MaxPool", a, 3, 1, 1)], False)
    check(load, net, output)


def test_sums_are_multiplied_as_in_other_runtimes(tmp_path):
    """By x_scale w_scale / y_scale in float32; in double precision these sums would round to the other side."""
    x_scale, y_scale, x = np.float32(0.36896154), np.float32(0.27), np.arange(256, dtype=np.uint8)[:, None]
    scales = np.random.default_rng(0).uniform(0.003, 0.006, 400_000).astype(np.float32)
    sums = 127 * x.astype(np.float32)
    scales = np.concatenate([part[differing(sums, x_scale, part, y_scale)] for part in np.split(scales, 40)])
    assert scales.size > 20
    weights = np.full((1, scales.size), 127, np.int8)
    text = f"""<ir_version: 9, opset_import: ["": 19]>
    net (uint8[256, 1] x) => (uint8[256, {scales.size}] y)
    <float xs = {{{float(x_scale)!r}}}, uint8 zero = {{0}}, float ys = {{{float(y_scale)!r}}}> {{
      a = DequantizeLinear(x, xs, zero)
      b = DequantizeLinear<axis = 1>(w, ws)
      c = MatMul(a, b)
      y = QuantizeLinear(c, ys, zero)
    }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(
        [onnx.numpy_helper.from_array(weights, "w"), onnx.numpy_helper.from_array(scales, "ws")]
    )
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    wanted = np.clip(np.rint(sums * (x_scale * scales / y_scale)), 0, 255).astype(np.uint8)
    for isa in ISAS:
        np.testing.assert_array_equal(Engine(path, isa=isa)(x), wanted, err_msg=isa)


def differing(sums: np.ndarray, x_scale: np.float32, scales: np.ndarray, y_scale: np.float32) -> np.ndarray:
    """Which scales round a sum otherwise when they are multiplied in double precision."""
    double = (np.float64(x_scale) * scales / y_scale).astype(np.float32)
    return (np.rint(sums * double) != np.rint(sums * (x_scale * scales / y_scale))).any(0)
