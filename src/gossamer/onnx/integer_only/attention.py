"""What transformers need beside products: softmax, GELU and layer normalization after I-BERT (Kim et al. 2021)."""

from __future__ import annotations

import numpy as np

from gossamer.numerics import integers

from .conversion import Conversion
from .values import INT32, Grid, Scaled

_FRACTION_BITS = (
    15  # of normalized elements, and of the weights they are multiplied by: the product fits int32
)
SOFTMAX_SCALES, _GELU_SCALES = (5e-5, 0.25), (0.004, 0.5)


def within(c: Conversion, x: Scaled, scales: tuple[float, float]) -> Scaled:
    """``x`` with a scale that a polynomial holds."""
    if not x.is_one:
        raise c.refuse("its input is a sum that is not quantized")
    low, high = scales
    scale = float(np.clip(float(x.scale), low, high))
    if scale == float(x.scale):
        return x
    grid = Grid(scale, 0, "int32", *INT32)
    return Scaled(c.requantized(x, grid), "int32", np.asarray(scale))


def softmax(c: Conversion) -> None:
    """Softmax: IntegerSoftmax, bytes of 1/256."""
    x = within(c, c.scaled(0, plain=True), SOFTMAX_SCALES)
    constants = integers.Exponential.of(float(x.scale))
    axis = int(c.at.attributes.get("axis", -1))  # type: ignore[arg-type]
    numbers = {"ln2": constants.ln2, "b": constants.b, "c": constants.c}
    made = c.emit("IntegerSoftmax", [x.name], {**numbers, "axis": axis, "bits": 8})
    c.give(Scaled(made, "uint8", np.asarray(2.0**-8)))


def gelu(c: Conversion) -> None:
    """Gelu, exact or with tanh: IntegerGelu."""
    x = within(c, c.scaled(0, plain=True), _GELU_SCALES)
    constants = integers.Gelu.of(float(x.scale))
    inputs = [x.name, c.point(x.zero, x.dtype)]
    made = c.emit("IntegerGelu", inputs, {"b": constants.b, "c": constants.c})
    c.give(Scaled(made, "int32", np.asarray(constants.output_scale), is_sum=True))


def layer_norm(c: Conversion) -> None:
    """LayerNormalization along the last dimension: IntegerLayerNorm; epsilon is left out."""
    x = c.scaled(0, plain=True)
    weight = c.constant(1)
    bias = c.constant(2) if c.input(2) else None
    axis = int(c.at.attributes.get("axis", -1))  # type: ignore[arg-type]
    rank = len(c.sizes(c.at.outputs[0]))
    if axis % rank != rank - 1 or weight is None or weight.ndim != 1 or not x.is_one:
        raise c.refuse("only over the last dimension, of quantized values, with a constant weight")
    features = weight.size
    step = float(np.abs(weight).max()) / 2**_FRACTION_BITS or 1.0
    scale = integers.layer_norm_scale(features, _FRACTION_BITS, step)
    held = [c.replaced(np.rint(weight / step).astype(np.int32), c.input(1))]
    if bias is not None:
        steps = np.clip(np.rint(bias / scale), -(2**30), 2**30)
        held.append(c.replaced(steps.astype(np.int32), c.input(2)))
    made = c.emit("IntegerLayerNorm", [x.name, *held], {"fraction_bits": _FRACTION_BITS})
    c.give(Scaled(made, "int32", np.asarray(scale), is_sum=True))
