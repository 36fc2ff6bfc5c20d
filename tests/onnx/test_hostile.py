"""Broken and hostile ONNX files: FormatError or UnsupportedError, never a traceback of another library."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from onnx_helpers import WEIGHTS

import gossamer.onnx as gossamer_onnx
from gossamer.artifact.program import Operation, Port, Program
from gossamer.errors import FormatError, UnsupportedError
from gossamer.onnx import functions


def small() -> onnx.ModelProto:
    """A little of everything that the importer reads."""
    double = helper.make_function(
        "my",
        "Double",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], alpha=1.5, transB=1, name="fc"),
        helper.make_node("Double", ["y"], ["z"], domain="my"),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.int64([-1, 3]), "")),
        helper.make_node("Reshape", ["z", "c"], ["o"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w"),
            helper.make_tensor("b", TensorProto.FLOAT, [3], [1, 2, 3]),
        ],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("my", 1)]
    return helper.make_model(graph, functions=[double], opset_imports=opsets, ir_version=10)


def tagged() -> onnx.ModelProto:
    weights = {"w": WEIGHTS["sparse codebook"], "q": WEIGHTS["quantized 4 bits"]}
    operations = (
        Operation("Gemm", ("x", "w"), ("y",), {"transB": 1}),
        Operation("MatMul", ("y", "q"), ("z",)),
    )
    ports = Port("x", "float32", ("n", 50)), Port("z", "float32", ("n", 50))
    return gossamer_onnx.to_onnx(Program(ports[:1], ports[1:], operations, weights, {"": 21}))


def outcome(data: bytes) -> str:
    """Anything but these outcomes fails the test that asks."""
    try:
        program = gossamer_onnx.load(data)
    except FormatError:
        return "FormatError"
    except UnsupportedError:
        return "UnsupportedError"
    gossamer_onnx.load(gossamer_onnx.to_onnx(program))
    return "valid"


def test_every_truncation():
    data = small().SerializeToString()
    assert outcome(data) == "valid"
    assert Counter(outcome(data[:end]) for end in range(len(data)))["FormatError"] > len(data) * 0.8


def test_every_bit_flip():
    data = bytearray(small().SerializeToString())
    outcomes: Counter[str] = Counter()
    for position in range(len(data)):
        for bit in range(8):
            data[position] ^= 1 << bit
            outcomes[outcome(bytes(data))] += 1
            data[position] ^= 1 << bit
    assert outcomes.total() == 8 * len(data)
    assert outcomes["FormatError"] > outcomes["valid"] > 0


@pytest.mark.parametrize("seed", range(4))
def test_random_mutations(seed):
    source = random.Random(seed)
    data = (tagged() if seed % 2 else small()).SerializeToString()
    outcomes: Counter[str] = Counter()
    for _ in range(400):
        mutated = bytearray(data)
        for _ in range(source.randint(1, 5)):
            mutated[source.randrange(len(data))] = source.choice([0, 127, 128, 255, source.randrange(256)])
        outcomes[outcome(bytes(mutated))] += 1
    assert outcomes["FormatError"] > 0


def broken(change) -> onnx.ModelProto:
    model = small()
    change(model)
    return model


def _cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "z"


def _dims(*dims: int):
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = dims

    return change


def _external(**entries: str):
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)

    return change


def _sparse(values: list[float], indices: list[int], dims: list[int]):
    def change(model: onnx.ModelProto) -> None:
        sparse = model.graph.sparse_initializer.add(dims=dims)
        sparse.values.CopyFrom(numpy_helper.from_array(np.float32(values), "s"))
        sparse.indices.CopyFrom(numpy_helper.from_array(np.int64(indices), "i"))

    return change


def _input_dim(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -2


def _entry(field: str, value: object):
    def change(model: onnx.ModelProto) -> None:
        getattr(model.graph, field)[0].CopyFrom(value)

    return change


BROKEN = {
    "a cycle": (_cycle, "topological"),
    "negative dims": (_dims(-1, -6), "negative dimension"),
    "dims larger than the data": (_dims(3, 3), "needs 36 bytes, the file holds 24"),
    "a claim of 2 GiB": (_dims(1 << 14, 1 << 15), "needs 2147483648 bytes"),
    "a claim beyond 64 bits": (_dims(1 << 40, 1 << 40), "needs 4835703278458516698824704 bytes"),
    "no such type": (lambda m: setattr(m.graph.initializer[0], "data_type", 99), "element type 99"),
    "bytes in a boolean": (
        _entry("initializer", TensorProto(name="w", data_type=TensorProto.BOOL, dims=[2], raw_data=b"\1\2")),
        "other than 0 and 1",
    ),
    "too few typed entries": (
        _entry("initializer", TensorProto(name="w", data_type=TensorProto.INT32, dims=[2], int32_data=[1])),
        "needs 2 entries of int32_data",
    ),
    "negative input": (_input_dim, "negative dimension -2"),
    "an input without type": (lambda m: m.graph.input[0].ClearField("type"), "."),
    "an initializer twice": (lambda m: m.graph.initializer.add().CopyFrom(m.graph.initializer[0]), "."),
    "no operator sets": (lambda m: m.ClearField("opset_import"), "opset"),
    "two operator sets": (lambda m: m.opset_import.add(domain="ai.onnx", version=17), "two versions"),
    "no such operator": (lambda m: setattr(m.graph.node[0], "op_type", "Gemmm"), "Gemmm"),
    "no such attribute": (lambda m: setattr(m.graph.node[0].attribute[0], "name", "beeta"), "beeta"),
    "an undefined value": (lambda m: m.graph.node[0].input.__setitem__(1, "nothing"), "nothing"),
    "an undefined output": (lambda m: setattr(m.graph.output[0], "name", "nothing"), "."),
    "metadata twice": (
        lambda m: m.metadata_props.extend([onnx.StringStringEntryProto(key="k", value="v")] * 2),
        "k",
    ),
    "sparse indices outside": (_sparse([1.0], [4], [4]), "s"),
    "sparse indices out of order": (_sparse([1.0, 2.0], [2, 1], [4]), "s"),
    "sparse that would fill the memory": (_sparse([1.0], [0], [1 << 40]), "s"),
    "data elsewhere": (_external(location="x"), "from its path"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_models_are_format_errors(change, message):
    with pytest.raises(FormatError, match=message):
        gossamer_onnx.load(broken(change))


EXTERNAL = {
    "outside": ({"location": "../secret"}, "outside the model's folder"),
    "absolute": ({"location": "/etc/passwd"}, "outside the model's folder"),
    "through a link": ({"location": "link"}, "outside the model's folder"),
    "missing": ({"location": "none"}, "missing"),
    "a folder": ({"location": "."}, "missing"),
    "unnamed": ({}, "outside the model's folder"),
    "a null byte": ({"location": "a\0b"}, "."),
    "an endless name": ({"location": "a" * 5000}, "."),
    "beyond the end": ({"location": "data", "offset": "10"}, "lie outside data"),
    "before the start": ({"location": "data", "offset": "-1"}, "lie outside data"),
    "not a number": ({"location": "data", "offset": "x"}, "not a number"),
    "another length": ({"location": "data", "length": "8"}, "needs 24 bytes, the file claims 8"),
}


@pytest.mark.parametrize(("entries", "message"), EXTERNAL.values(), ids=EXTERNAL.keys())
def test_external_data_stays_in_the_folder(entries, message, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(24))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "data").write_bytes(bytes(24))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "net.onnx").write_bytes(broken(_external(**entries)).SerializeToString())
    with pytest.raises(FormatError, match=message):
        gossamer_onnx.load(folder / "net.onnx")


@pytest.mark.parametrize("path", ["missing.onnx", "."])
def test_unreadable_paths(path, tmp_path):
    with pytest.raises(FormatError, match="cannot read ONNX file"):
        gossamer_onnx.load(tmp_path / path)


UNSUPPORTED = {
    "control flow": (
        "agraph (bool c, float[n] x) => (float[n] y) "
        "{ y = If (c) <then_branch = a () => (float[n] t) { t = Relu(x) }, "
        "else_branch = b () => (float[n] t) { t = Neg(x) }> }",
        "'If'.*subgraph in attribute 'then_branch'",
    ),
    "sequences": (
        "agraph (float[n] x) => (float[m] y) "
        "{ s = SequenceConstruct(x, x) y = ConcatFromSequence<axis=0>(s) }",
        r"'SequenceConstruct' \(node 's'\)",
    ),
    "strings": ("agraph (float[n] x) => (string[n] y) { y = Cast<to=8>(x) }", "casts to strings"),
    "string constants": (
        'agraph (float[n] x) => (float[n] y) { s = Constant<value_string="a">() y = Relu(x) }',
        "'Constant' .node 's'.*string",
    ),
    "sequence inputs": (
        "agraph (seq(float[n]) s) => (seq(float[n]) s2) { s2 = Identity(s) }",
        "input 's' is a sequence",
    ),
    "bfloat16 weights": (
        "agraph (float[1] x) => (float[1] y) <bfloat16[1] w = {1}> { y = Relu(x) }",
        "'w'.*bfloat16",
    ),
}


@pytest.mark.parametrize(("text", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_a_program_cannot_hold_is_named(text, message):
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {text}')
    with pytest.raises(UnsupportedError, match=message):
        gossamer_onnx.load(model)


def test_a_newer_file_asks_for_a_newer_onnx():
    with pytest.raises(UnsupportedError, match="upgrade onnx"):
        gossamer_onnx.load(broken(lambda m: setattr(m, "ir_version", 999)))


def calls(name: str, *called: str) -> onnx.FunctionProto:
    nodes = [
        helper.make_node(op, [f"v{i}"], [f"v{i + 1}"], domain="my" if op.startswith("f") else "")
        for i, op in enumerate(called)
    ]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("my", 1)]
    return helper.make_function("my", name, ["v0"], [f"v{len(called)}"], nodes, opsets)


FUNCTIONS = {
    "itself": [calls("f0", "f0")],
    "each other": [calls("f0", "f1"), calls("f1", "f0")],
    "exponentially": [calls(f"f{i}", *[f"f{i + 1}"] * 10) for i in range(9)] + [calls("f9", "Relu")],
    "very deep": [calls(f"f{i}", f"f{i + 1}") for i in range(300)] + [calls("f300", "Relu")],
}


@pytest.mark.parametrize("bodies", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_functions_that_never_end(bodies):
    model = small()
    del model.functions[:]
    model.functions.extend(bodies)
    model.graph.node[1].op_type = "f0"
    with pytest.raises(FormatError):
        gossamer_onnx.load(model)
    with pytest.raises(
        FormatError, match=r"itself|exceed|deep"
    ):  # whatever the installed checker finds first
        functions.inlined(model)
