"""The steps of a QDQ file, each as a file of its own: from quantized values to the next quantized value.

A whole network amplifies what its steps round differently: a value half-way between two integers becomes the one here
and the other there, and what follows differs. A step alone shows what a runtime computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx.utils import Extractor

from gossamer.engine import Engine

Arrays = Mapping[str, Any]


def steps(path: Path, arrays: Arrays) -> Iterator[tuple[Path, tuple[Any, ...]]]:
    """Every step's file, beside ``path``, and its inputs, as the Engine computes them from ``arrays``."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    constant = {item.name for item in model.graph.initializer}
    quantized = [
        n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in constant
    ]
    borders = {*quantized, *(item.name for item in model.graph.input)}
    values = {**arrays, **_computed(model, quantized, arrays, path)}
    extractor = Extractor(model)
    for number, end in enumerate([*quantized, *(item.name for item in model.graph.output)]):
        begins = _begins(model, end, borders)
        part = path.with_name(f"step-{number}.onnx")
        alone = extractor.extract_model(begins, [end])
        onnx.save(alone, part)
        yield part, tuple(values[item.name] for item in alone.graph.input)


def _computed(model: onnx.ModelProto, names: list[str], arrays: Arrays, path: Path) -> dict[str, Any]:
    """What the Engine makes of the values of these names."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    types = {item.name: item for item in (*model.graph.value_info, *model.graph.output)}
    tapped.graph.output.extend(types[name] for name in names)
    place = path.with_name("tapped.onnx")
    onnx.save(tapped, place)
    found = Engine(place)(*arrays.values())
    return found if isinstance(found, dict) else {names[0]: found}


def _begins(model: onnx.ModelProto, end: str, borders: set[str]) -> list[str]:
    """The quantized values, or inputs, that ``end`` is computed from without others in between."""
    made = {name: n for n in model.graph.node for name in n.output}
    found: list[str] = []
    waiting = list(made[end].input)
    while waiting:
        name = waiting.pop()
        if name in borders:
            found += [name] * (name not in found)
        elif name in made:
            waiting += made[name].input
    return found
