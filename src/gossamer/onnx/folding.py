"""What can be computed once, before the program ships, by ONNX's own reference implementation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator

from gossamer.artifact.program import Operation
from gossamer.errors import GossamerError
from gossamer.weights import Dense, Weight

from . import tensors
from .exporting import node

# Other results every time, or a statement about numbers that must stay where it is (QDQ).
_RANDOM = ("Random", "Bernoulli", "Multinomial", "Dropout")
_KEPT = (*_RANDOM, "QuantizeLinear", "DequantizeLinear", "DynamicQuantize")


def is_foldable(operation: Operation) -> bool:
    """Whether the operation's results depend on its inputs alone and may be written down instead of it."""
    return not operation.domain and bool(operation.inputs) and not operation.op.startswith(_KEPT)


def fold(
    operation: Operation, weights: Mapping[str, Weight], opsets: Mapping[str, int]
) -> list[Dense] | None:
    """The outputs of ``operation`` on Dense ``weights``; None where they cannot be computed here."""
    inputs = {}
    for name in filter(None, operation.inputs):
        weight = weights[name]
        if not isinstance(weight, Dense):
            return None
        inputs[name] = weight.values
    infos = [
        helper.make_tensor_value_info(name, tensors.element_type(array.dtype.name, name), array.shape)
        for name, array in inputs.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in filter(None, operation.outputs)]
    try:
        graph = helper.make_graph([node(operation, opsets)], "fold", infos, outputs)
        ids = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(helper.make_model(graph, opset_imports=ids)).run(None, inputs)
        return [Dense(np.ascontiguousarray(result).reshape(np.shape(result))) for result in results]
    except (GossamerError, RuntimeError, ValueError, TypeError, NotImplementedError, IndexError, KeyError):
        return None  # the reference implementation has gaps; the operation then runs in the program
