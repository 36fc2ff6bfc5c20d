"""Sequences that are taken apart at once: SplitToSequence read by SequenceAt, which is how PyTorch writes a split.

A part is a slice, so no sequence is needed. Anything else that makes a sequence stays, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import tensors


def unrolled(model: ModelProto) -> ModelProto:
    """The model with every part of a split written as Slice, or Gather where the axis goes away; itself if none."""
    splits = {node.output[0]: node for node in model.graph.node if _is(node, "SplitToSequence")}
    if not splits:
        return model
    changed = ModelProto()
    changed.CopyFrom(model)
    parts = _Parts(changed.graph, splits)
    nodes = [new for node in model.graph.node for new in parts.written(node)]
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed


def _is(node: NodeProto, op: str) -> bool:
    return node.op_type == op and node.domain in ("", "ai.onnx")


class _Parts:
    def __init__(self, graph: GraphProto, splits: dict[str, NodeProto]) -> None:
        self.constants = dict(_constants(graph))
        readers: dict[str, list[NodeProto]] = {name: [] for name in splits}
        for node in graph.node:
            for name in set(node.input) & splits.keys():
                readers[name].append(node)
        given_out = {value.name for value in graph.output}
        self.splits = {
            name: node
            for name, node in splits.items()
            if name not in given_out and all(self._is_plain(node, reader) for reader in readers[name])
        }

    def written(self, node: NodeProto) -> Iterator[NodeProto]:
        """The nodes that do what ``node`` does."""
        if _is(node, "SplitToSequence") and node.output[0] in self.splits:
            return
        if not _is(node, "SequenceAt") or node.input[0] not in self.splits:
            yield node
            return
        split = self.splits[node.input[0]]
        axis = next((item.i for item in split.attribute if item.name == "axis"), 0)
        index = int(self.constants[node.input[1]])
        if len(split.input) < 2 and _drops_axis(split):
            yield from self._operator("Gather", split.input[0], node, axis, {"index": np.array(index)})
            return
        start, end = _bounds(self.constants[split.input[1]] if len(split.input) > 1 else np.array(1), index)
        bounds = {"starts": np.array([start]), "ends": np.array([end]), "axes": np.array([axis])}
        yield from self._operator("Slice", split.input[0], node, axis, bounds)

    def _is_plain(self, split: NodeProto, reader: NodeProto) -> bool:
        """Whether this reader takes one known part of a split into known sizes."""
        if not _is(reader, "SequenceAt") or any(name not in self.constants for name in split.input[1:]):
            return False
        index = self.constants.get(reader.input[1])
        sizes = self.constants[split.input[1]] if len(split.input) > 1 else np.array(1)
        return (
            index is not None
            and index.size == 1
            and 0 <= int(index) < (sizes.size if sizes.ndim else 1 << 31)
        )

    @staticmethod
    def _operator(
        op: str, source: str, node: NodeProto, axis: int, inputs: dict[str, npt.NDArray[np.int64]]
    ) -> Iterator[NodeProto]:
        names = [f"{node.output[0]}.{name}" for name in inputs]
        for name, value in zip(names, inputs.values(), strict=True):
            tensor = numpy_helper.from_array(value.astype(np.int64), name)
            yield helper.make_node("Constant", [], [name], value=tensor)
        written = helper.make_node(op, [source, *names], list(node.output), name=node.name)
        if op == "Gather":
            written.attribute.append(helper.make_attribute("axis", axis))
        yield written


def _drops_axis(split: NodeProto) -> bool:
    return any(item.name == "keepdims" and item.i == 0 for item in split.attribute)


def _bounds(sizes: npt.NDArray[np.generic], index: int) -> tuple[int, int]:
    """Where part ``index`` begins and ends; ``sizes`` is one size for all parts, or one for each."""
    if not sizes.ndim:
        return index * int(sizes), (index + 1) * int(sizes)
    ends = np.cumsum(sizes.astype(np.int64))
    return int(ends[index] - sizes[index]), int(ends[index])


def _constants(graph: GraphProto) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    """Small integer constants: initializers and Constant nodes."""
    for tensor in graph.initializer:
        if _is_small(tensor):
            yield tensor.name, tensors.to_array(tensor, f"initializer {tensor.name!r}", None)
    for node in graph.node:
        if not _is(node, "Constant"):
            continue
        for item in node.attribute:
            if item.name == "value" and _is_small(item.t):
                yield node.output[0], tensors.to_array(item.t, f"constant {node.output[0]!r}", None)
            elif item.name in ("value_int", "value_ints"):
                yield (
                    node.output[0],
                    np.array(item.i if item.name == "value_int" else list(item.ints), np.int64),
                )


def _is_small(tensor: TensorProto) -> bool:
    here = tensor.data_location != TensorProto.EXTERNAL
    return here and tensor.data_type in (TensorProto.INT32, TensorProto.INT64) and len(tensor.dims) < 2
