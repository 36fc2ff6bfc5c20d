"""Quantized networks in QDQ form, written node by node: QuantizeLinear and DequantizeLinear around float operators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Quantized:
    """A quantized tensor: its name, (batch, channels, ...) without the batch, and x = (q - zero) scale."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero: int
    signed: bool


class Net:
    """Grows one operator at a time; values stay near a standard deviation of 1."""

    def __init__(self, seed: int, shape: tuple[int, ...], signed: bool = False, spread: float = 1.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.signed, self.spread = signed, spread
        self.shares = False  # exporters write an equal constant as an Identity of another one
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.shape, self.count = shape, 0
        self.input = self.quantize("x", shape)

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def constant(self, value: np.ndarray) -> str:
        name = self.name("c")
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], **attributes: object) -> str:
        output = self.name(op)
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def parameters(self, scale: np.ndarray | float, zero: int, signed: bool) -> list[str]:
        scales = np.asarray(scale, np.float32)
        zeros = np.full(scales.shape, zero, np.int8 if signed else np.uint8)
        return [self.constant(scales), self.constant(zeros)]

    def quantize(
        self, x: str, shape: tuple[int, ...], scale: float | None = None, zero: int | None = None
    ) -> Quantized:
        scale = scale or float(np.float32(self.spread * self.rng.uniform(0.02, 0.04)))
        if zero is None:
            zero = int(self.rng.integers(-30, 30)) if self.signed else int(self.rng.integers(90, 160))
        q = self.node("QuantizeLinear", [x, *self.parameters(scale, zero, self.signed)])
        return Quantized(q, shape, scale, zero, self.signed)

    def dequantize(self, x: Quantized) -> str:
        return self.node("DequantizeLinear", [x.name, *self.parameters(x.scale, x.zero, x.signed)])

    def weights(self, *shape: int, axis: int = 0, per_channel: bool = True) -> tuple[str, np.ndarray]:
        ints = self.rng.integers(-127, 128, shape, np.int8)
        depth = int(np.prod(shape)) // shape[axis]
        count = shape[axis] if per_channel else 1
        scales = (self.rng.uniform(0.7, 1.4, count) / (73 * np.sqrt(depth))).astype(np.float32)
        parameters = self.parameters(scales if per_channel else scales[0], 0, True)
        attributes = {"axis": axis} if per_channel else {}
        return self.node("DequantizeLinear", [self.constant(ints), *parameters], **attributes), scales

    def activated(self, y: str, activation: str | None) -> str:
        if activation == "Relu6":
            return self.node("Clip", [y, self.constant(np.float32(0)), self.constant(np.float32(6))])
        return self.node(activation, [y]) if activation else y

    def conv(  # noqa: PLR0913
        self, x: Quantized, channels: int, kernel: int = 1, stride: int = 1, pad: int = 0, dilation: int = 1,
        group: int = 1, activation: str | None = None, bias: bool = True, per_channel: bool = True,
    ) -> Quantized:  # fmt: skip
        spatial = x.shape[1:]
        w, scales = self.weights(
            channels, x.shape[0] // group, *[kernel] * len(spatial), per_channel=per_channel
        )
        inputs = [self.dequantize(x), w]
        if bias:
            steps = (np.broadcast_to(scales, channels) * np.float32(x.scale)).astype(np.float32)
            ints = np.rint(self.rng.standard_normal(channels) * 0.5 / steps).astype(np.int32)
            zeros = self.constant(np.zeros(channels, np.int32))
            b = self.node("DequantizeLinear", [self.constant(ints), self.constant(steps), zeros], axis=0)
            inputs.append(self.node("Identity", [b]) if self.shares else b)
        rank = len(spatial)
        y = self.node("Conv", inputs, kernel_shape=[kernel] * rank, strides=[stride] * rank, pads=[pad] * 2 * rank,
                      dilations=[dilation] * rank, group=group)  # fmt: skip
        out = tuple((n + 2 * pad - (kernel - 1) * dilation - 1) // stride + 1 for n in spatial)
        return self.quantize(self.activated(y, activation), (channels, *out))

    def depthwise(self, x: Quantized, kernel: int = 3, **options: object) -> Quantized:
        return self.conv(x, x.shape[0], kernel, group=x.shape[0], **options)

    def binary(self, op: str, a: Quantized, b: Quantized, activation: str | None = None) -> Quantized:
        y = self.node(op, [self.dequantize(a), self.dequantize(b)])
        return self.quantize(self.activated(y, activation), tuple(np.broadcast_shapes(a.shape, b.shape)))

    def add(self, a: Quantized, b: Quantized, activation: str | None = None) -> Quantized:
        return self.binary("Add", a, b, activation)

    def scalar(self, op: str, x: Quantized, value: float) -> Quantized:
        """With a quantized constant, as quantizers write it."""
        constant = self.constant(np.int8(100) if self.signed else np.uint8(100))
        other = self.node("DequantizeLinear", [constant, *self.parameters(value / 100, 0, self.signed)])
        return self.quantize(self.node(op, [self.dequantize(x), other]), x.shape, zero=x.zero)

    def transposed(self, x: Quantized) -> Quantized:
        y = self.node("Transpose", [self.dequantize(x)], perm=[0, *range(len(x.shape), 0, -1)])
        return self.quantize(y, x.shape[::-1], x.scale, x.zero)

    def padded(self, x: Quantized, pads: int) -> Quantized:
        """Zeros around the pixels, as TensorFlow's exporters write a convolution's padding."""
        rank = len(x.shape) - 1
        y = self.node("Pad", [self.dequantize(x), self.constant(np.int64([0, 0, *[pads] * rank] * 2))])
        return self.quantize(y, (x.shape[0], *[n + 2 * pads for n in x.shape[1:]]), x.scale, x.zero)

    def unary(self, op: str, x: Quantized, **attributes: object) -> Quantized:
        return self.quantize(self.node(op, [self.dequantize(x)], **attributes), x.shape)

    def pool(
        self, op: str, x: Quantized, kernel: int, stride: int, pad: int = 0, **options: object
    ) -> Quantized:
        rank = len(x.shape) - 1
        y = self.node(op, [self.dequantize(x)], kernel_shape=[kernel] * rank, strides=[stride] * rank,
                      pads=[pad] * 2 * rank, **options)  # fmt: skip
        out = tuple((n + 2 * pad - kernel) // stride + 1 for n in x.shape[1:])
        same = {"scale": x.scale, "zero": x.zero} if op == "MaxPool" else {}
        return self.quantize(y, (x.shape[0], *out), **same)

    def mean(self, x: Quantized, keepdims: bool = True) -> Quantized:
        y = self.node("GlobalAveragePool", [self.dequantize(x)])
        shape = (x.shape[0], *[1] * (len(x.shape) - 1))
        if not keepdims:
            y, shape = self.node("Flatten", [y]), x.shape[:1]
        return self.quantize(y, shape)

    def concat(self, parts: list[Quantized], same: bool) -> Quantized:
        y = self.node("Concat", [self.dequantize(p) for p in parts], axis=1)
        shape = (sum(p.shape[0] for p in parts), *parts[0].shape[1:])
        return self.quantize(y, shape, parts[0].scale if same else None, parts[0].zero if same else None)

    def split(self, x: Quantized, *sizes: int) -> list[Quantized]:
        """Along the channels; each part in the steps of x."""
        names = [self.name("part") for _ in sizes]
        read = [self.dequantize(x), self.constant(np.int64(sizes))]
        self.nodes.append(helper.make_node("Split", read, names, axis=1))
        parts = zip(names, sizes, strict=True)
        return [self.quantize(name, (size, *x.shape[1:]), x.scale, x.zero) for name, size in parts]

    def channels(self, x: Quantized, begin: int, end: int, scale: float | None = None) -> Quantized:
        limits = [self.constant(np.int64([number])) for number in (begin, end, -len(x.shape))]
        y = self.node("Slice", [self.dequantize(x), *limits])
        shape = (len(range(x.shape[0])[begin:end]), *x.shape[1:])
        return self.quantize(y, shape, scale or x.scale, x.zero)

    def shuffled(self, x: Quantized, groups: int, rounds: bool = True) -> Quantized:
        """Channels of all groups by turns; ``rounds``: with quantization between its steps too."""
        spatial, y = x.shape[1:], self.dequantize(x)
        apart, swapped = (groups, x.shape[0] // groups, *spatial), (x.shape[0] // groups, groups, *spatial)
        order = [0, 2, 1, *range(3, len(spatial) + 3)]
        for shape, perm in ((apart, None), (swapped, order), (x.shape, None)):
            if perm:
                y = self.node("Transpose", [y], perm=perm)
            else:
                y = self.node("Reshape", [y, self.constant(np.int64([-1, *shape]))])
            if rounds or shape == x.shape:
                x = self.quantize(y, shape, x.scale, x.zero)
                y = self.dequantize(x)
        return x

    def linear(self, x: Quantized, out: int) -> Quantized:
        size = int(np.prod(x.shape))
        w, _ = self.weights(size, out, axis=1)
        flat = self.quantize(self.node("Flatten", [self.dequantize(x)]), (size,), x.scale, x.zero)
        y = self.node("MatMul", [self.dequantize(flat), w])
        y = self.node("Add", [y, self.constant(np.float32(self.rng.standard_normal(out)))])
        return self.quantize(y, (out,))

    def model(self, output: Quantized, dequantized: bool = True, rounded: bool = True) -> onnx.ModelProto:
        """``rounded``: false leaves out the last operator's QuantizeLinear."""
        name = self.dequantize(output) if dequantized else output.name
        if not rounded:
            name = next(node.input[0] for node in self.nodes if node.output[0] == output.name)
        dtype = TensorProto.FLOAT if dequantized else TensorProto.INT8 if output.signed else TensorProto.UINT8
        graph = helper.make_graph(
            self.nodes,
            "quantized",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *self.shape])],
            [helper.make_tensor_value_info(name, dtype, ["n", *output.shape])],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
