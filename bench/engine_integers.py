"""int8 as DeepSparse's own exporter (SparseML) writes it: ConvInteger and MatMulInteger between float operators.

    QuantizeLinear -> ConvInteger -> Add (bias in int32) -> Cast -> Mul (scales) [-> float operators, as they were]

Made from the float ONNX file: activations uint8 with ranges from calibration, weights int8, symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

Array = npt.NDArray[Any]
INTEGER = {"Conv": "ConvInteger", "Gemm": "MatMulInteger", "MatMul": "MatMulInteger"}


def to_integers(source: Path, path: Path, calibration: Sequence[Array]) -> None:
    """Write the float network ``source`` with integer products to ``path``."""
    model = onnx.load(source)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    products = [n for n in model.graph.node if n.op_type in INTEGER and n.input[1] in weights]
    ranges = activation_ranges(model, sorted({n.input[0] for n in products}), calibration)
    nodes: list[NodeProto] = []
    constants: dict[str, Array] = {}
    done: set[str] = set()
    for node in model.graph.node:
        if node not in products:
            nodes.append(node)
            continue
        if node.input[0] not in done:
            nodes.append(_quantize(node.input[0], ranges[node.input[0]], constants))
            done.add(node.input[0])
        nodes += _product(node, weights, float(constants[f"{node.input[0]}_scale"]), constants)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.save(model, path)


def activation_ranges(
    model: ModelProto, names: Sequence[str], inputs: Sequence[Array]
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each of these tensors; both include zero."""
    import onnxruntime

    shown = ModelProto()
    shown.CopyFrom(model)
    own = {port.name for port in model.graph.input}
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in own)
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = [name for name in names if name not in own]
    ranges = dict.fromkeys(names, (0.0, 0.0))
    for x in inputs:
        values = dict(zip(wanted, session.run(wanted, {model.graph.input[0].name: x}), strict=True))
        for name in names:
            value = values.get(name, x)
            low, high = ranges[name]
            ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return ranges


def _quantize(name: str, bounds: tuple[float, float], constants: dict[str, Array]) -> NodeProto:
    scale = max((bounds[1] - bounds[0]) / 255, 1e-12)
    constants[f"{name}_scale"] = np.array(scale, np.float32)
    constants[f"{name}_zero"] = np.array(round(-bounds[0] / scale), np.uint8)
    inputs = [name, f"{name}_scale", f"{name}_zero"]
    return helper.make_node("QuantizeLinear", inputs, [f"{name}_quantized"])


def _product(
    node: NodeProto, weights: dict[str, Array], scale: float, constants: dict[str, Array]
) -> list[NodeProto]:
    """The nodes in place of ``node``; its weights per tensor, as the exporter has them by default."""
    name, conv = node.output[0], node.op_type == "Conv"
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    weight = weights[node.input[1]]
    if attributes.pop("transB", 0):
        weight = weight.T
    step = max(float(np.abs(weight).max()) / 127, 1e-12)
    constants[f"{name}_weight"] = np.ascontiguousarray(
        np.clip(np.round(weight / step), -127, 127).astype(np.int8)
    )
    constants[f"{name}_weight_zero"] = np.array(0, np.int8)
    constants[f"{name}_rescale"] = np.array(scale * step, np.float32)
    x = node.input[0]
    inputs = [f"{x}_quantized", f"{name}_weight", f"{x}_zero", f"{name}_weight_zero"]
    nodes = [
        helper.make_node(INTEGER[node.op_type], inputs, [f"{name}_sums"], **(attributes if conv else {}))
    ]
    sums = f"{name}_sums"
    if len(node.input) > 2:
        bias = np.round(weights[node.input[2]] / (scale * step)).astype(np.int32)
        constants[f"{name}_bias"] = bias.reshape(1, -1, 1, 1) if conv else bias
        nodes.append(helper.make_node("Add", [sums, f"{name}_bias"], [f"{name}_biased"]))
        sums = f"{name}_biased"
    nodes.append(helper.make_node("Cast", [sums], [f"{name}_float"], to=onnx.TensorProto.FLOAT))
    return [*nodes, helper.make_node("Mul", [f"{name}_float", f"{name}_rescale"], [name])]
