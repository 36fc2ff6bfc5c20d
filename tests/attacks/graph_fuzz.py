"""Damaged graphs for the loader, the planner and the operators: the standard's node tests with something changed.

    python tests/attacks/graph_fuzz.py --seconds 300 --seed 7

Under the sanitizers: scripts/fuzz_graphs. A graph runs or raises one of gossamer's errors; anything else
stops the run.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
import warnings
from collections import Counter

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from gossamer.artifact import onnx_reader
from gossamer.engine import Engine, operators
from gossamer.errors import GossamerError

EDGES = [0, 1, -1, 2, 3, -2, 7, 64, 1 << 20, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63)]
REALS = [0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, float("inf"), float("nan")]
TYPES = [TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.UINT8, TensorProto.INT8,
         TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT16]  # fmt: skip
MOST_ELEMENTS = 1 << 16  # of an input: what is fed stays small, what a graph asks for does not


def seeds() -> list:
    """Node tests of operators that the engine has, with small inputs."""
    known = set(operators())
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    return [
        case
        for case in collected
        if {node.op_type for node in case.model.graph.node} <= known
        and all(
            isinstance(array, np.ndarray) and array.dtype.kind in "biuf" and array.size < 4096
            for array in case.data_sets[0][0]
        )
    ]


def damage_attribute(node: NodeProto, source: random.Random) -> None:
    """Another value of the same type, one more, one less, or none."""
    if not node.attribute:
        return
    item = source.choice(node.attribute)
    match item.type:
        case AttributeProto.INT:
            item.i = source.choice(EDGES)
        case AttributeProto.FLOAT:
            item.f = source.choice(REALS)
        case AttributeProto.INTS:
            numbers = list(item.ints)
            if numbers and source.random() < 0.7:
                numbers[source.randrange(len(numbers))] = source.choice(EDGES)
            else:
                numbers = numbers[:-1] if source.random() < 0.5 else [*numbers, source.choice(EDGES)]
            item.ints[:] = numbers
        case AttributeProto.STRING:
            item.s = source.choice([b"", b"x", b"linear", b"bidirectional", b"SAME_UPPER", b"\xff"])
        case AttributeProto.GRAPH:
            if item.g.node:
                damage_node(source.choice(item.g.node), source)
        case _:
            node.attribute.remove(item)


def damage_node(node: NodeProto, source: random.Random) -> None:
    kind = source.randrange(6)
    if kind < 3:
        damage_attribute(node, source)
    elif kind == 3 and len(node.input) > 1:
        a, b = source.randrange(len(node.input)), source.randrange(len(node.input))
        node.input[a], node.input[b] = node.input[b], node.input[a]
    elif kind == 4 and node.input:
        node.input[source.randrange(len(node.input))] = source.choice(["", node.input[0]])
    else:
        node.op_type = source.choice(operators())


def damage_array(array: np.ndarray, source: random.Random) -> np.ndarray:
    """Other sizes, another type, or other numbers."""
    array = np.asarray(array)
    kind = source.randrange(4)
    if kind == 0:
        shape = [source.choice([0, 1, 2, 3, 5, size]) for size in array.shape]
        shape = shape[:-1] if source.random() < 0.2 else [*shape, 1] if source.random() < 0.2 else shape
        return np.resize(array, shape) if array.size else np.zeros(shape, array.dtype)
    if kind == 1:
        with np.errstate(all="ignore"):
            return array.astype(helper.tensor_dtype_to_np_dtype(source.choice(TYPES)))
    if kind == 2 and array.size and array.dtype.kind in "iu":
        changed = array.copy()
        info = np.iinfo(array.dtype)
        changed.flat[source.randrange(array.size)] = min(max(source.choice(EDGES), info.min), info.max)
        return changed
    return array


def damaged(case, source: random.Random) -> tuple[ModelProto, list[np.ndarray]]:
    """A changed copy of a case: its model, and what to feed to it."""
    model = ModelProto()
    model.CopyFrom(case.model)
    arrays = list(case.data_sets[0][0])
    for _ in range(source.randint(1, 3)):
        if source.random() < 0.5 and arrays:
            place = source.randrange(len(arrays))
            arrays[place] = damage_array(arrays[place], source)
        else:
            damage_node(source.choice(model.graph.node), source)
    inputs = list(model.graph.input)
    del model.graph.input[:]
    fed = []
    for value, array in zip(inputs, arrays, strict=False):
        if source.random() < 0.3:
            model.graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), value.name)
            )
            continue
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        shape = [None if source.random() < 0.3 else size for size in array.shape]
        model.graph.input.append(helper.make_tensor_value_info(value.name, kind, shape))
        fed.append(array)
    return model, fed


def outcome(model: ModelProto, arrays: list[np.ndarray]) -> str:
    """ "runs", or the name of gossamer's error."""
    try:
        Engine(onnx_reader.parse(model.SerializeToString()))(*arrays)
    except (GossamerError, MemoryError) as error:
        return type(error).__name__
    return "runs"


def run(seconds: float, most: int, seed: int) -> Counter[str]:
    """What became of random graphs; the last one lies in ``last-graph.onnx`` where a crash leaves it."""
    source, collected, found = random.Random(seed), seeds(), Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end and found.total() < most:
        model, arrays = damaged(source.choice(collected), source)
        if max((array.size for array in arrays), default=0) <= MOST_ELEMENTS:
            LAST.write_bytes(model.SerializeToString()) if LAST else None
            found[outcome(model, arrays)] += 1
    return found


LAST = None

if __name__ == "__main__":
    import pathlib

    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=1 << 60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=pathlib.Path, help="where to write each graph before it is tried")
    parser.add_argument(
        "--gigabytes",
        type=float,
        default=0,
        help="limit of the address space; 0: none (sanitizers need none)",
    )
    options = parser.parse_args()
    LAST = options.keep
    if options.gigabytes:
        bytes_ = int(options.gigabytes * (1 << 30))
        resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))
    print(dict(run(options.seconds, options.runs, options.seed)))
