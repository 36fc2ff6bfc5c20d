"""CorrectBias: what quantization of the weights adds to each output channel on average is taken from the bias.

Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.2 (empirical).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor
from torch.fx import Node

from gossamer.graph import Graph, Pass, effective, note
from gossamer.task import Task

from .calibrate import watch
from .fold import add_bias, bias_of, fold_batch_norms
from .run import QuantizedLayer, correctable, product, source, unquantized


@dataclass(frozen=True)
class CorrectBias(Pass):
    """After Quantize: subtract E[(W_q - W) x] from every layer's bias, over ``batches`` calibration batches.

    Batch norms behind the layers are folded first, for in training they would undo it.
    """

    batches: int | None = None

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` with other biases."""
        corrected = copy.deepcopy(graph)
        fold_batch_norms(corrected)
        means = [_Mean(corrected, layer) for layer in correctable(corrected)]
        if not means:
            note("CorrectBias", "nothing to do: no layer is quantized; put it behind Quantize")
            return copy.deepcopy(graph)
        watch(corrected, task, self.batches, [(mean.source, mean.add) for mean in means])
        for mean in means:
            old, layer = bias_of(corrected, mean.layer.layer), mean.layer.layer
            add_bias(corrected, layer, -mean.value if old is None else old.double() - mean.value)
        corrected.recompile()
        return corrected


class _Mean:
    """The mean error of a layer's sums, per output channel, from the inputs that it is shown."""

    def __init__(self, graph: Graph, layer: QuantizedLayer) -> None:
        self.layer, self._error = layer, effective(graph, layer.name) - unquantized(graph, layer)
        self.source: Node = source(layer)
        self._sum: Tensor | float = 0.0
        self._count = 0

    def add(self, x: Tensor) -> None:
        errors = product(self.layer.layer, x, self._error)
        channel = 1 if self.layer.layer.kind.startswith("conv") else errors.ndim - 1
        flat = errors.movedim(channel, 0).flatten(1)
        self._sum = self._sum + flat.double().sum(1)
        self._count += flat.shape[1]

    @property
    def value(self) -> Tensor:
        assert isinstance(self._sum, Tensor)  # calibration has at least one batch
        return self._sum / self._count
