"""Calling an Engine: names, shapes, dtypes, outputs, files, instruction sets; every mistake is a clear error."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from engine_programs import floats, program

from gossamer import _native, artifact
from gossamer.artifact import Operation, Port, Program
from gossamer.engine import Engine
from gossamer.errors import FormatError, GossamerError, InputError, UnsupportedError
from gossamer.onnx import to_onnx
from gossamer.weights import Weight

ADD = program(
    {"a": ("n", 3), "b": ("n", 3)},
    [("Add", "ab", ["sum"]), ("Sub", "ab", ["difference"])],
    ["sum", "difference"],
)
DOUBLE = program({"x": ("n", "n")}, [("Add", "xx", "y")], "y")


def test_inputs_in_order_by_name_and_as_a_dict():
    a, b = floats(1, 4, 3), floats(2, 4, 3)
    engine = Engine(ADD)
    for results in (engine(a, b), engine(a, b=b), engine(b=b, a=a), engine({"a": a, "b": b})):
        assert list(results) == ["sum", "difference"]
        np.testing.assert_array_equal(results["sum"], a + b)
        np.testing.assert_array_equal(results["difference"], a - b)


def test_ports_are_those_of_the_program():
    engine = Engine(ADD)
    assert engine.inputs == ADD.inputs
    assert [port.name for port in engine.outputs] == ["sum", "difference"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, x: e(x), "missing 'b'"),
        (lambda e, x: e(), "missing 'a', 'b'"),
        (lambda e, x: e(x, x, x), "3 arrays given"),
        (lambda e, x: e(x, x, a=x), "given twice 'a'"),
        (lambda e, x: e(a=x, c=x), "there is no input 'c'; missing 'b'. The inputs are: a: float32"),
        (
            lambda e, x: e(x, x.astype(np.float64)),
            r"input 'b' must be of dtype float32: convert it with .astype\('float32'\)",
        ),
        (lambda e, x: e(x, [[1, 2, 3]]), "input 'b' must be of dtype float32"),
        (lambda e, x: e(x, x[0]), r"input 'b' of shape \(3,\): it needs 2 dimensions"),
        (lambda e, x: e(x, x[:, :2].copy()), r"input 'b' of shape \(2, 2\): dimension 1 must be 3"),
        (lambda e, x: e(x, x[:1]), r"dimension 0 must be 2 \('n', as in another place\)"),
    ],
)
def test_a_call_that_does_not_fit(call, message):
    with pytest.raises(InputError, match=message):
        call(Engine(ADD), floats(1, 2, 3))


def test_one_name_twice_in_one_shape():
    assert Engine(DOUBLE)(floats(1, 3, 3)).shape == (3, 3)
    with pytest.raises(InputError, match="dimension 1 must be 2"):
        Engine(DOUBLE)(floats(1, 2, 3))


def test_arrays_that_are_not_contiguous():
    big = floats(1, 8, 6)
    for view in (big[::2, ::2], big[::-2, 3:], big.T[:3, :4].T, np.broadcast_to(big[0, :3], (4, 3))):
        np.testing.assert_array_equal(Engine(ADD)(view, view)["sum"], view + view)
    read_only = floats(2, 4, 3)
    read_only.flags.writeable = False
    np.testing.assert_array_equal(Engine(ADD)(read_only, read_only)["sum"], 2 * read_only)


def test_arrays_that_are_not_aligned_or_of_another_byte_order():
    x = floats(1, 4, 3)
    shifted = np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(4, 3)
    assert not shifted.flags.aligned
    for given in (shifted, x.astype(">f4")):
        np.testing.assert_array_equal(Engine(ADD)(given, given)["sum"], x + x)


def test_results_are_new_arrays():
    engine, x = Engine(DOUBLE), floats(1, 2, 2)
    first = engine(x)
    kept = first.copy()
    engine(x * 5)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0


def test_a_shape_that_does_not_run_says_where():
    flexible = program({"x": (None, None)}, [("Gemm", "xw", "y")], "y", {"w": floats(1, 3, 2)})
    engine = Engine(flexible)
    assert engine(floats(1, 5, 3)).shape == (5, 2)
    with pytest.raises(InputError, match="Gemm 'n0': inner dimensions 4 and 3 differ"):
        engine(floats(1, 5, 4))


def test_an_operator_that_is_not_there_is_named_while_loading():
    with pytest.raises(
        UnsupportedError, match=r"operator DeformConv \(node 'n1'\) is not supported. Rewrite"
    ):
        Engine(
            program(
                {"x": (None, 3)}, [("Relu", "x", "h"), ("DeformConv", "h", "y", {"equation": "ij->i"})], "y"
            )
        )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"op": "FusedGelu", "domain": "com.microsoft"}, "of domain 'com.microsoft'"),
        ({"attributes": {"surprise": 1}}, "Relu 'act': attribute 'surprise' is not supported"),
    ],
)
def test_what_is_not_understood_is_never_ignored(changed, message):
    fields = {"op": "Relu", "inputs": ("x",), "outputs": ("y",), "name": "act", **changed}
    port = Port("x", "float32", (1,))
    with pytest.raises(UnsupportedError, match=message):
        Engine(Program((port,), (Port("y", "float32", (1,)),), (Operation(**fields),), {}, {"": 18}))


def test_types_are_checked_while_loading():
    with pytest.raises(UnsupportedError, match="Exp 'n0': input 0 is int64; supported here: float32"):
        Engine(program({"x": ("int64", (None, None))}, [("Exp", "x", "y")], "y"))
    with pytest.raises(UnsupportedError, match="input 'x' is complex64"):
        Engine(program({"x": ("complex64", (1,))}, [("Relu", "x", "y")], "y"))
    with pytest.raises(UnsupportedError, match="Add 'n0': input 1 is uint8; supported here: float32"):
        Engine(program({"x": (1,)}, [("Add", "xw", "y")], "y", {"w": np.zeros(1, np.uint8)}))


class Strange(Weight):
    pass


def test_a_representation_without_a_kernel():
    with pytest.raises(
        UnsupportedError, match="weight 'w': the engine has no kernel for the representation Strange"
    ):
        Engine(program({"x": (1, 3)}, [("Gemm", "xw", "y")], "y", {"w": Strange()}))


ONES = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda b: b.add_codebook("w", np.full((3, 2), 2, np.uint8), ONES), "beyond its 2 centroids"),
        (lambda b: b.add_sparse("w", (3, 2), np.array([5, 6]), ONES, None), r"position is outside \(3, 2\)"),
        (lambda b: b.add_sparse("w", (3, 2), np.array([4, 1]), ONES, None), "do not increase"),
        (lambda b: b.add_sparse("w", (3, 2), np.array([-4, 1]), ONES, None), "do not increase"),
        (lambda b: b.add_sparse("w", (3, 2), np.array([1, 4]), ONES[:1], None), "not one value per position"),
        (
            lambda b: b.add_sparse("w", (3, 2), np.array([1]), ONES, np.array([7], np.uint8)),
            "beyond its 2 centroids",
        ),
        (
            lambda b: b.add_sparse("w", (3, 2), np.array([1, 2]), ONES, np.array([0], np.uint8)),
            "not one index per position",
        ),
        (
            lambda b: b.add_sparse("w", (2**40, 2**40), np.array([1, 2]), ONES, None),
            "more than 2.34 elements",
        ),
        (lambda b: b.add_sparse("w", (-1, 2), np.array([1, 2]), ONES, None), "negative"),
    ],
)
def test_the_native_side_trusts_no_weight(add, message):
    with pytest.raises(FormatError, match=message):
        add(_native.ModelBuilder())


def test_programs_that_are_not_well_formed():
    port = Port("x", "float32", (1,))
    for operations, outputs, message in [
        ((Operation("Relu", ("z",), ("y",)),), "y", "reads 'z', which nothing before it defines"),
        ((Operation("Relu", ("x",), ("x",)),), "x", "defined twice"),
        ((Operation("Relu", ("x",), ("y",)),), "z", "the program's output reads 'z'"),
        ((Operation("Relu", ("x", "x"), ("y",)),), "y", "Relu: 2 inputs"),
        ((Operation("Add", ("x", ""), ("y",)),), "y", "Add: 1 inputs"),
        ((Operation("Relu", ("x",), ()),), "x", "no output"),
        (
            (Operation("LeakyRelu", ("x",), ("y",), {"alpha": "much"}),),
            "y",
            "attribute 'alpha' has the wrong type",
        ),
    ]:
        with pytest.raises(FormatError, match=message):
            Engine(Program((port,), (Port(outputs, "float32", None),), operations, {}, {"": 18}))
    with pytest.raises(FormatError, match="opsets"):
        Engine(Program((port,), (port,), (Operation("Relu", ("x",), ("y",)),), {}, {}))


def test_the_instruction_set_can_be_chosen(monkeypatch):
    for isa in _native.machine_isas():
        assert Engine(DOUBLE, isa=isa).isa == isa
        monkeypatch.setenv("GOSSAMER_ISA", isa)
        assert Engine(DOUBLE).isa == isa
    monkeypatch.setenv("GOSSAMER_ISA", "sse9")
    with pytest.raises(
        UnsupportedError,
        match="the environment variable GOSSAMER_ISA asks for 'sse9'; this machine runs portable",
    ):
        Engine(DOUBLE)
    assert Engine(DOUBLE, isa="portable").isa == "portable"
    monkeypatch.delenv("GOSSAMER_ISA")
    assert Engine(DOUBLE).isa == _native.machine_isas()[-1]


def test_threads():
    with pytest.raises(InputError, match="threads=0"):
        Engine(DOUBLE, threads=0)
    assert Engine(DOUBLE).threads == 1


def test_files(tmp_path):
    weights = {"w": floats(1, 3, 2)}
    net = program({"x": ("n", 3)}, [("Gemm", "xw", "y")], "y", weights)
    artifact.write(net, tmp_path / "net.goss")
    x = floats(2, 4, 3)
    np.testing.assert_array_equal(Engine(tmp_path / "net.goss")(x), Engine(net)(x))
    np.testing.assert_array_equal(Engine(str(tmp_path / "net.goss"))(x), Engine(net)(x))
    np.testing.assert_array_equal(Engine((tmp_path / "net.goss").read_bytes())(x), Engine(net)(x))
    np.testing.assert_array_equal(Engine(to_onnx(net).SerializeToString())(x), Engine(net)(x))
    with pytest.raises(FormatError):
        Engine(b"no such file")
    with pytest.raises(FileNotFoundError):
        Engine(tmp_path / "other.goss")
    (tmp_path / "bad.goss").write_bytes(b"no such file")
    with pytest.raises(FormatError):
        Engine(tmp_path / "bad.goss")


def test_numpy_alone(tmp_path):
    net = program({"x": ("n", 3)}, [("Gemm", "xw", "y")], "y", {"w": floats(1, 3, 2)})
    artifact.write(net, tmp_path / "net.goss")
    code = (
        "import sys, numpy, gossamer; e = gossamer.Engine(sys.argv[1]); e(numpy.zeros((1, 3), 'float32'));"
        "bad = {'torch', 'onnx', 'onnxruntime', 'pydantic', 'scipy'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "net.goss")], check=True)


def test_scalars_and_outputs_that_are_inputs_or_constants():
    net = program(
        {"x": ()}, [("Identity", "x", "y"), ("Add", "xc", "z"), ("Identity", "z", ["w"])], ["x", "y", "z", "w", "c"],
        {"c": np.float32(2)},
    )  # fmt: skip
    results = Engine(net)(np.array(3, np.float32))
    assert {name: value.item() for name, value in results.items()} == {"x": 3, "y": 3, "z": 5, "w": 5, "c": 2}
    assert all(value.shape == () for value in results.values())


def test_an_index_out_of_range_is_an_error_of_the_input():
    net = program({"i": ("int64", ("n",))}, [("Gather", "wi", "y")], "y", {"w": floats(1, 4, 2)})
    np.testing.assert_array_equal(Engine(net)(np.array([3, -1]))[0], floats(1, 4, 2)[3])
    for bad in (4, -5, 2**62):
        with pytest.raises(InputError, match=f"index {bad} is outside a dimension of 4"):
            Engine(net)(np.array([0, bad]))


def test_every_error_is_a_gossamer_error_for_random_attributes():
    rng = np.random.default_rng(0)
    for _ in range(300):
        attributes = {
            name: tuple(
                int(v)
                for v in rng.choice([-(2**62), -3, -1, 0, 1, 2, 3, 2**20, 2**62], int(rng.integers(0, 5)))
            )
            for name in rng.choice(
                ["pads", "strides", "dilations", "kernel_shape"], int(rng.integers(1, 4)), replace=False
            )
        }
        op = str(rng.choice(["Conv", "MaxPool", "AveragePool"]))
        read = "xw" if op == "Conv" else "x"
        net = program(
            {"x": (1, 2, 5, 5)},
            [(op, read, "y", attributes)],
            "y",
            {"w": floats(1, 3, 2, 3, 3)} if op == "Conv" else {},
        )
        try:
            Engine(net)(floats(1, 1, 2, 5, 5))
        except GossamerError:
            continue
