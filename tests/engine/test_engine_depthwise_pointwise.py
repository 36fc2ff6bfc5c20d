"""A depthwise and a pointwise convolution in one step, where the tensor between them is large: exactly as in two."""

from __future__ import annotations

import numpy as np
import pytest
from quantized_nets import Net, Quantized
from test_engine_quantized import ISAS, assert_steps, inputs, load  # noqa: F401 (a fixture)

FUSED = "gossamer.Conv+gossamer.Conv"


def separable(net: Net, x: Quantized, channels: int, **options: object) -> Quantized:
    return net.conv(net.depthwise(x, **options), channels)


def residual(net: Net) -> Quantized:
    return net.add(separable(net, net.input, net.shape[0], pad=1, activation="Relu"), net.input, "Relu")


def linear(net: Net) -> Quantized:
    return separable(net, net.input, 8, pad=1)


NETS = {
    "linear": ((32, 261, 263), {}, linear),
    "signed": ((32, 261, 263), {"signed": True}, linear),
    "relu6": ((32, 263, 259), {}, lambda n: separable(n, n.input, 12, pad=1, activation="Relu6")),
    "stride 2": ((37, 465, 467), {}, lambda n: separable(n, n.input, 9, stride=2, pad=1)),
    "5x5 without padding": ((35, 250, 247), {}, lambda n: separable(n, n.input, 4, kernel=5)),
    "dilated": ((36, 240, 247), {}, lambda n: separable(n, n.input, 5, pad=4, dilation=4)),
    "more padding than kernel": ((32, 256, 255), {}, lambda n: separable(n, n.input, 8, pad=7)),
    "wide": ((128, 3, 6001), {}, lambda n: separable(n, n.input, 8, pad=1)),
    "residual": ((32, 259, 261), {}, residual),
}


@pytest.mark.parametrize("name", NETS)
def test_one_step_computes_what_two_do(load, name):  # noqa: F811
    shape, options, build = NETS[name]
    net = Net(7, shape, **options)
    output = build(net)
    engines, reference = load(net.model(output))
    x = inputs(net, 1)
    first = engines[ISAS[-1]](x)
    assert_steps(first, reference(x), output.scale)
    for isa in ISAS[:-1]:
        np.testing.assert_array_equal(engines[isa](x), first, err_msg=isa)
    for engine in engines.values():
        assert FUSED in [step.operator for step in engine.explain(x, runs=0)]


def test_batches_and_threads_change_nothing(load):  # noqa: F811
    net = Net(7, *NETS["stride 2"][:1])
    model = net.model(NETS["stride 2"][2](net))
    (one, _), (three, _) = load(model), load(model, threads=3)
    x = inputs(net, 2)
    together = three[ISAS[-1]](x)
    for image, wanted in zip(x, together, strict=True):
        np.testing.assert_array_equal(one[ISAS[-1]](image[None])[0], wanted)


def test_the_tensor_between_them_needs_no_memory(load):  # noqa: F811
    net = Net(3, (32, 256, 257))
    output = net.conv(net.depthwise(net.conv(net.input, 32), pad=1), 4)
    engines, _ = load(net.model(output))
    x = inputs(net, 1)
    tensor = 32 * 256 * 257
    assert (
        engines[ISAS[-1]].working_memory(x) < 2 * tensor + tensor
    )  # the input's cells, the first result; no third


@pytest.mark.parametrize(
    "build",
    [
        lambda n: separable(n, n.input, 8, pad=1),
        lambda n: n.conv(n.depthwise(n.input, pad=1), 8, kernel=3),
        lambda n: n.add(n.depthwise(n.input), n.conv(n.depthwise(n.input), 16)),
    ],
    ids=["small", "no pointwise", "two of them"],
)
def test_other_pairs_stay_apart(load, build):  # noqa: F811
    net = Net(5, (16, 24, 24))
    engines, _ = load(net.model(build(net)))
    assert FUSED not in [step.operator for step in engines[ISAS[-1]].explain(runs=0)]
