"""From a Program to the native model. What a weight becomes is a function of its representation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import singledispatch

import numpy as np
import numpy.typing as npt

from gossamer import _native
from gossamer.artifact.program import Attribute, Operation, Program, Subgraph
from gossamer.errors import FormatError, UnsupportedError
from gossamer.weights import Codebook, Dense, Quantized, Sparse, Weight, decode


@singledispatch
def add_weight(weight: Weight, name: str, builder: _native.ModelBuilder) -> None:
    """Define ``name`` in the native model as this weight, in the form that the kernels read."""
    raise UnsupportedError(
        f"weight '{name}': the engine has no kernel for the representation {type(weight).__name__}"
    )


@add_weight.register(Dense)
def _(weight: Dense, name: str, builder: _native.ModelBuilder) -> None:
    _add_dense(weight.values, name, builder, "")


@add_weight.register(Quantized)
def _(weight: Quantized, name: str, builder: _native.ModelBuilder) -> None:
    if weight.bits > 8:
        note = f"{weight.bits}-bit weights decoded to float32 while loading: kernels read at most 8 bits"
        _add_dense(decode(weight), name, builder, note)
        return
    # As a file of ONNX says it, so that one rewriting finds the integer operators for both.
    parts = (f"{name}.ints", f"{name}.scale", f"{name}.zero_point")
    byte = np.int8 if weight.ints.dtype.kind == "i" else np.uint8
    values: list[npt.NDArray[np.generic]] = [
        weight.ints.astype(byte),
        weight.scale,
        weight.zero_point.astype(byte),
    ]
    for part, array in zip(parts, values, strict=True):
        _add_dense(array, part, builder, "")
    attributes = {"axis": weight.axis, "block_size": weight.block}
    builder.add_node(
        "DequantizeLinear", name, parts, (name,), {key: n for key, n in attributes.items() if n is not None}
    )


@add_weight.register(Codebook)
def _(weight: Codebook, name: str, builder: _native.ModelBuilder) -> None:
    builder.add_codebook(name, np.asarray(weight.indices, order="C"), np.asarray(weight.centroids, order="C"))


@add_weight.register(Sparse)
def _(weight: Sparse, name: str, builder: _native.ModelBuilder) -> None:
    values = weight.values
    if isinstance(values, Quantized) and values.axis is None and not values.zero_point:
        # The integer kernels find the zeros by themselves.
        ints = np.zeros(weight.shape, values.ints.dtype)
        ints.reshape(-1)[weight.positions] = values.ints
        add_weight(Quantized(ints, values.scale, values.zero_point, None, values.bits), name, builder)
        return
    if isinstance(values, Codebook):
        builder.add_sparse(name, weight.shape, weight.positions, values.centroids, values.indices)
        return
    kept = decode(values)
    if kept.dtype != np.float32:
        _add_dense(
            decode(weight), name, builder, f"sparse {kept.dtype} weights decoded while loading: no kernel yet"
        )
        return
    builder.add_sparse(name, weight.shape, weight.positions, np.asarray(kept, order="C"), None)


def _add_dense(values: npt.NDArray[np.generic], name: str, builder: _native.ModelBuilder, note: str) -> None:
    try:
        builder.add_dense(name, np.asarray(values, order="C"), note)
    except UnsupportedError as error:
        raise UnsupportedError(f"weight '{name}': {error}. Convert it before exporting") from None


def native_model(program: Program) -> _native.ModelBuilder:
    """The Program in the native builder, every name defined and resolved. FormatError, UnsupportedError."""
    builder = _native.ModelBuilder()
    builder.set_opset(_opset(program))
    for port in program.inputs:
        builder.add_input(port.name, port.dtype, port.shape)
    _add_body(program, builder)
    for port in program.outputs:
        builder.add_output(port.name)
    return builder


def _add_body(graph: Program | Subgraph, builder: _native.ModelBuilder) -> None:
    for name, weight in graph.weights.items():
        add_weight(weight, name, builder)
    for operation in graph.operations:
        for plain in _without_mask(operation):
            _add_operation(plain, builder)


def _opset(program: Program) -> int:
    if program.opsets.get("gossamer", 1) != 1:
        raise UnsupportedError(
            f"version {program.opsets['gossamer']} of the operators of domain 'gossamer' is not supported: 1 is"
        )
    version = program.opsets.get("", program.opsets.get("ai.onnx", 0))
    if version < 1 and any(operation.domain in ("", "ai.onnx") for operation in program.operations):
        raise FormatError(
            "the program does not say which version of the ONNX operators it uses: opsets[''] is missing"
        )
    return version


def _without_mask(operation: Operation) -> Iterator[Operation]:
    """Dropout's mask, outside of training: true for every element (dropped again where nothing reads it)."""
    if operation.op != "Dropout" or operation.domain not in ("", "ai.onnx") or len(operation.outputs) < 2:
        yield operation
        return
    kept, mask = operation.outputs
    yield replace(operation, outputs=(kept,))
    if mask:
        shape = f"{mask}.shape"
        yield Operation("Shape", operation.inputs[:1], (shape,), name=f"{operation.name}.shape")
        fill: dict[str, Attribute] = {"value": np.ones(1, bool)}
        yield Operation("ConstantOfShape", (shape,), (mask,), fill, name=f"{operation.name}.mask")


def _add_operation(operation: Operation, builder: _native.ModelBuilder) -> None:
    attributes: dict[str, object] = {
        name: _add_subgraph(value, builder) if isinstance(value, Subgraph) else value
        for name, value in operation.attributes.items()
    }
    builder.add_node(_operator(operation), operation.name, operation.inputs, operation.outputs, attributes)


def _operator(operation: Operation) -> str:
    """The operator's name in the native model: those of domain "gossamer" bear it."""
    if operation.domain == "gossamer":
        return f"gossamer::{operation.op}"
    if operation.domain not in ("", "ai.onnx") or "::" in operation.op:
        raise UnsupportedError(
            f"operator {operation.op} (node '{operation.name}') of domain '{operation.domain}' is not supported: "
            "only the standard ONNX operators and those of domain 'gossamer' are"
        )
    return operation.op


def _add_subgraph(graph: Subgraph, builder: _native.ModelBuilder) -> _native.Subgraph:
    builder.open_subgraph(graph.inputs)
    _add_body(graph, builder)
    return builder.close_subgraph(graph.outputs)
