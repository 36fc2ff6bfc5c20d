"""Control flow, and shapes that depend on contents: one plan for each branch, count and size that occurs."""

from __future__ import annotations

import threading

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from gossamer.artifact import onnx_reader, pack, unpack
from gossamer.engine import Engine
from gossamer.errors import FormatError, InputError, UnsupportedError

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name, kind=FLOAT, shape=("n",)):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in weights]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def branches(condition=BOOL, inputs=()):
    """y = x + 1 where c holds, else (x, x): of different shapes, so that only one plan can have them."""
    then = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["t"])], "then", [], [value("t", shape=None)]
    )
    other = helper.make_graph(
        [helper.make_node("Concat", ["x", "x"], ["e"], axis=0)], "else", [], [value("e", shape=None)]
    )
    choice = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    return model(
        [choice],
        [value("x"), value("c", condition, [])],
        [value("y", shape=None)],
        [("one", np.float32([1]))],
    )


def engine_of(proto, **options):
    return Engine(onnx_reader.parse(proto.SerializeToString()), **options)


def test_a_branch_chosen_by_an_input():
    engine = engine_of(branches())
    x = np.float32([1, 2])
    for _ in range(2):
        np.testing.assert_array_equal(engine(x, np.array(True)), x + 1)
        np.testing.assert_array_equal(engine(x, np.array(False)), [1, 2, 1, 2])
    assert any("one content of input 'c'" in step.note for step in engine.explain(x, np.array(True)))


def test_subgraphs_in_a_file():
    program = onnx_reader.parse(branches().SerializeToString())
    again = unpack(pack(program))
    x = np.float32([3])
    for chosen in (True, False):
        np.testing.assert_array_equal(
            Engine(again)(x, np.array(chosen)), Engine(program)(x, np.array(chosen))
        )
    assert pack(again) == pack(program)


def loop():
    """Sums of x, i times: the last one, and all of them."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["s", "x"], ["t"]),
            helper.make_node("Identity", ["t"], ["u"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [value("i", INT64, []), value("go", BOOL, []), value("s")],
        [value("on", BOOL, []), value("t"), value("u")],
    )
    node = helper.make_node("Loop", ["m", "", "x"], ["y", "all"], body=body)
    return model([node], [value("x"), value("m", INT64, [])], [value("y"), value("all", shape=None)])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_loop_whose_count_is_an_input(count):
    x = np.float32([1, -2, 3])
    outputs = engine_of(loop())(x, np.array(count))
    np.testing.assert_array_equal(outputs["y"], (count + 1) * x)
    np.testing.assert_array_equal(outputs["all"], np.outer(np.arange(2, count + 2), x))


def test_a_loop_that_does_not_end_is_refused():
    with pytest.raises(UnsupportedError, match="more than 10,000 iterations"):
        engine_of(loop())(np.float32([1]), np.array(1 << 40))


@pytest.mark.parametrize("opset", [17, 21])
def test_loops_agree_with_onnxruntime(opset):
    proto = loop()
    proto.opset_import[0].version = opset
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    x, count = np.float32([0.5, 2]), np.array(4)
    for ours, theirs in zip(
        engine_of(proto)(x, count).values(), session.run(None, {"x": x, "m": count}), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_sizes_that_are_contents():
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("NonZero", ["k"], ["z"])]
    proto = model(
        nodes,
        [value("x"), value("s", INT64, ["r"]), value("k", INT64, ["k"])],
        [value("r", shape=None), value("z", INT64, None)],
    )
    engine = engine_of(proto)
    x = np.arange(6, dtype=np.float32)
    for shape, kept in (([2, 3], [0, 1, 1]), ([3, -1], [5]), ([2, 3], [0, 0])):
        outputs = engine(x, np.array(shape), np.array(kept))
        np.testing.assert_array_equal(outputs["r"], x.reshape(shape))
        np.testing.assert_array_equal(outputs["z"], np.nonzero(kept))
    with pytest.raises(InputError):
        engine(x, np.array([4, 4]), np.array([1]))


def test_sizes_that_are_the_content_of_something_large_are_refused():
    proto = model([helper.make_node("NonZero", ["x"], ["z"])], [value("x")], [value("z", INT64, None)])
    with pytest.raises(UnsupportedError, match="NonZero: the size of its output .* larger than 65536 bytes"):
        engine_of(proto)(np.ones(20000, np.float32))


def test_eight_threads_choose_their_own_plans():
    engine = engine_of(branches(), threads=2)
    failures = []

    def work(seed):
        random = np.random.default_rng(seed)
        for _ in range(100):
            x, chosen = (
                random.standard_normal(random.integers(1, 9)).astype(np.float32),
                bool(random.integers(2)),
            )
            wanted = x + 1 if chosen else np.concatenate([x, x])
            if not np.array_equal(engine(x, np.array(chosen)), wanted):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_nesting_is_limited():
    with pytest.raises(FormatError, match="nested more than 16"):
        onnx_reader.parse(onnx_chain(30).SerializeToString())


def onnx_chain(depth):
    """If inside If, in the first branch alone."""
    leaf = helper.make_graph([helper.make_node("Identity", ["x"], ["leaf"])], "leaf", [], [value("leaf")])
    graph = leaf
    for level in range(depth):
        node = helper.make_node("If", ["c"], [f"y{level}"], then_branch=graph, else_branch=leaf)
        graph = helper.make_graph([node], "g", [], [value(f"y{level}")])
    return model(list(graph.node), [value("x"), value("c", BOOL, [])], [value(f"y{depth - 1}")])
