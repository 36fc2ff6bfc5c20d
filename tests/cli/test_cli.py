"""The command line as its users meet it: what is printed where, exit codes, and no traceback for their mistakes."""

import dataclasses
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gossamer import artifact, cli
from gossamer.artifact import Operation, Port, Program
from gossamer.cli.compress import run_compress
from gossamer.engine import Engine
from gossamer.errors import InputError
from gossamer.weights import Codebook, Dense, sparsify

SOURCE = Path(cli.__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])}


def program(seed=0):
    """x [batch, 8] -> [batch, 4]: a sparse codebook weight, and one for biases."""
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, 3, (4, 8)).astype(np.uint8)
    shared = Codebook.of(indices, np.array([-1.0, 0.5, 2.0], dtype=np.float32))
    keep = np.arange(32).reshape(4, 8) % 3 == 0
    return Program(
        (Port("x", "float32", ("batch", 8)),),
        (Port("y", "float32", ("batch", 4)),),
        (Operation("Gemm", ("x", "w", "b"), ("y",), {"transB": 1}),),
        {"w": sparsify(shared, keep), "b": Dense(rng.standard_normal(4).astype(np.float32))},
        {"": 18},
    )


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    artifact.write(program(), "net.goss")
    return Path("net.goss")


@pytest.fixture
def gossamer(monkeypatch, capfd):
    """Run a command line in this process: exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gossamer", *map(str, arguments)])
        capfd.readouterr()
        code = cli.main()
        out, err = capfd.readouterr()
        return code, out, err

    return run


def one_line(err):
    assert "Traceback" not in err
    assert err.count("\n") == 1, err
    return err.strip()


def test_version_is_the_packages(gossamer):
    code, out, _ = gossamer("--version")
    assert (code, out.split()[0]) == (0, "gossamer")
    try:
        assert out.split()[1] == importlib.metadata.version("gossamer")
    except importlib.metadata.PackageNotFoundError:
        from gossamer import __version__

        assert out.split()[1] == __version__


@pytest.mark.parametrize("command", ["demo", "compress", "inspect", "bench", "export"])
def test_help_teaches_with_an_example(gossamer, command):
    code, out, _ = gossamer(command, "--help")
    assert code == 0
    assert f"gossamer {command} " in re.sub(r"[│\s]+", " ", out).partition("Example:")[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect"],
        ["unravel"],
        ["inspect", "--colour", "net.goss"],
        ["bench", "net.goss", "--batch", "0"],
        ["bench", "net.goss", "--size", "length"],
    ],
)
def test_wrong_usage_is_2(gossamer, net, arguments):
    code, out, err = gossamer(*arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err
    assert "Traceback" not in err


MISTAKES = {
    "inspect a file that is not there": (["inspect", "absent.goss"], "absent.goss is not there"),
    "inspect a folder": (["inspect", "."], "is a folder"),
    "inspect something else": (["inspect", "recipe.yaml"], "recipe.yaml: "),
    "bench a file that is not there": (["bench", "net.goss", "absent.goss"], "absent.goss is not there"),
    "bench something else": (["bench", "recipe.yaml"], r"\.goss, \.onnx or \.pt2"),
    "export to something else": (["export", "net.goss", "-o", "net.tflite"], r"ends in \.onnx"),
    "export into nowhere": (["export", "net.goss", "-o", "no/such/net.onnx"], "there is no folder"),
    "an ONNX model": (["compress", "m.onnx", "--recipe", "int8", "-o", "o.goss"], "--calib"),
    "a recipe that does not come along": (["compress", "m.onnx", "--recipe", "int9", "-o", "o.goss"], "int8"),
    "no task": (["compress", "mine:build", "--recipe", "recipe.yaml", "-o", "o.goss"], "--task"),
    "no colon": (
        ["compress", "mine", "--task", "mine:task", "--recipe", "recipe.yaml", "-o", "o"],
        "module:name",
    ),
    "no module": (
        ["compress", "nomine:build", "--task", "mine:task", "--recipe", "recipe.yaml", "-o", "o"],
        "nomine",
    ),
    "no attribute": (
        ["compress", "mine:b", "--task", "mine:task", "--recipe", "recipe.yaml", "-o", "o"],
        "no 'b'",
    ),
    "build raises": (
        ["compress", "mine:broken", "--task", "mine:task", "--recipe", "recipe.yaml", "-o", "o"],
        r"broken\(\) failed at .*mine\.py:9: RuntimeError: no weights here",
    ),
    "a module with a syntax error": (
        ["compress", "syntax:build", "--task", "mine:task", "--recipe", "recipe.yaml", "-o", "o"],
        r"importing syntax failed at .*syntax\.py:2: SyntaxError",
    ),
    "a module that needs another": (
        ["compress", "needy:build", "--task", "mine:task", "--recipe", "recipe.yaml", "-o", "o"],
        r"importing needy failed at .*needy\.py:1: ModuleNotFoundError",
    ),
    "not a model": (
        ["compress", "mine:task", "--task", "mine:task", "--recipe", "recipe.yaml", "-o", "o"],
        "mine:task gives Task; a Module is needed",
    ),
    "not a task": (
        ["compress", "mine:build", "--task", "mine:build", "--recipe", "recipe.yaml", "-o", "o"],
        "a Task is needed",
    ),
    "no recipe": (
        ["compress", "mine:build", "--task", "mine:task", "--recipe", "no.yaml", "-o", "o"],
        "no.yaml",
    ),
    "a bad recipe": (
        ["compress", "mine:build", "--task", "mine:task", "--recipe", "bad.yaml", "-o", "o"],
        r"bad\.yaml:2: .*Prun",
    ),
    "a loss that raises": (
        ["compress", "mine:build", "--task", "mine:task_with_bad_loss", "--recipe", "recipe.yaml", "-o", "o"],
        r"ZeroDivisionError: .*mine\.py:13",
    ),
    "demo without data": (["demo", "--data", "nowhere"], "looked for .* nowhere"),
}

MINE = """\
import torch
from torch import nn
from gossamer import Task

def build():
    return nn.Linear(4, 2)

def broken():
    raise RuntimeError("no weights here")

def bad_loss(outputs, targets):
    torch.zeros(1)
    return 1 / 0

BATCHES = [(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2)]
loss = nn.functional.cross_entropy

def task():
    from gossamer.metrics import accuracy
    return Task(train=BATCHES, valid=BATCHES, loss=loss, metric=accuracy)

def task_with_bad_loss():
    return Task(train=BATCHES, valid=BATCHES, loss=bad_loss)
"""


@pytest.fixture
def users_code(net, monkeypatch):
    Path("mine.py").write_text(MINE)
    Path("syntax.py").write_text("x = 1\ndef build(:\n")
    Path("needy.py").write_text("import a_package_that_nobody_has\n")
    Path("recipe.yaml").write_text("- Prune: {amount: 0.5}\n- Finetune: {epochs: 1}\n")
    Path("bad.yaml").write_text("- Finetune: {epochs: 1}\n- Prun: {amount: 0.5}\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("mine", "syntax", "needy"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_1(gossamer, users_code, arguments, message):
    code, out, err = gossamer(*arguments)
    assert (code, out) == (1, "")
    assert re.search(message, one_line(err)), err


def test_debug_shows_the_traceback(gossamer, users_code):
    with pytest.raises(Exception, match="broken") as caught:
        gossamer("--debug", *MISTAKES["build raises"][0])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_inspect_adds_up(gossamer, net):
    code, out, err = gossamer("inspect", net, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["file_bytes"] == net.stat().st_size
    assert found["overhead_bytes"] + sum(layer["bytes"] for layer in found["layers"]) == net.stat().st_size
    weight, bias = found["layers"]
    assert (weight["name"], weight["kept"], weight["elements"]) == ("w", 11, 32)
    assert (weight["representation"], sum(weight["centroid_counts"])) == ("Sparse(Codebook)", 11)
    assert (bias["shape"], found["parameters"], found["macs_executed"]) == ([4], 36, 11)


def test_inspect_prints_the_same_numbers(gossamer, net):
    code, out, _ = gossamer("inspect", net, "--program")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines()]
    by_name = {row[1]: row for row in rows if len(row) > 2}
    assert by_name["w"][2:5] == ["4×8", "32", "34.4 %"]
    assert by_name["file"][7] == str(net.stat().st_size)
    assert by_name["Gemm"][2:5] == ["x, w, b", "y", "transB=1"]


def test_inspect_times_the_plan(gossamer, net):
    code, out, err = gossamer("inspect", net, "--plan", "--json")
    assert (code, err) == (0, "")
    (step,) = json.loads(out)["plan"]
    assert (step["operator"], step["macs"], step["microseconds"] >= 0) == ("Gemm", 11, True)
    code, out, _ = gossamer("inspect", net, "--plan")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines()]
    (row,) = [row[1:-1] for row in rows if len(row) > 2 and row[1] == "Gemm"]
    assert row[1:6] == ["Gemm", step["kernel"], "1×8 → 1×4", "rows", "11"]
    assert row[6:8] == [str(step["weight_bytes"]), str(step["activation_bytes"])]
    assert (step["inputs"], step["output"], step["activation_bytes"]) == ([[1, 8]], [1, 4], 48)
    assert "plan" not in json.loads(gossamer("inspect", net, "--json")[1])


def test_a_plan_takes_sizes_of_open_dimensions(gossamer, net):
    kernel = np.ones((2, 1, 3, 3), np.float32)
    conv = Program(
        (Port("x", "float32", ("batch", 1, "height", "width")),),
        (Port("y", "float32", ("batch", 2, "rows", "columns")),),
        (Operation("Conv", ("x", "w"), ("y",), {}),),
        {"w": Dense(kernel)},
        {"": 18},
    )
    artifact.write(conv, net)
    code, out, err = gossamer("inspect", net, "--plan")
    assert (code, out) == (1, "")
    assert "Taken as 1: batch, height, width; choose with --size NAME=N" in one_line(err)
    sizes = ("--size", "height=9", "--size", "width=5")
    code, out, _ = gossamer("inspect", net, "--plan", "--json", *sizes)
    assert (code, json.loads(out)["plan"][0]["output"]) == (0, [1, 2, 7, 3])
    code, _, err = gossamer("inspect", net, "--plan", "--size", "depth=3")
    assert (code, "no input has an open dimension 'depth'" in one_line(err)) == (1, True)


def test_a_plan_needs_inputs_of_known_rank(gossamer, net):
    anything = dataclasses.replace(program(), inputs=(Port("x", "float32", None),))
    artifact.write(anything, net)
    code, out, err = gossamer("inspect", net, "--plan")
    assert (code, out) == (1, "")
    assert "input 'x' may have any number of dimensions" in one_line(err)


def test_inspect_imports_no_torch(net):
    script = "import sys; from gossamer.cli import main; code = main(); sys.exit(99 * ('torch' in sys.modules) or code)"
    done = subprocess.run(
        [sys.executable, "-c", script, "inspect", net, "--plan", "--json"],
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


def test_without_typer_the_message_says_what_to_install(tmp_path):
    script = "import sys; sys.modules['typer'] = None; from gossamer.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "--version"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'gossamer[compress]'" in one_line(done.stderr)


def test_bench_races_files_and_compares_outputs(gossamer, net):
    pytest.importorskip("onnxruntime")
    assert gossamer("export", net, "-o", "net.onnx")[0] == 0
    code, out, _ = gossamer("bench", net, "net.onnx", "--runs", "20", "--batch", "2", "--json")
    assert code == 0
    found = json.loads(out)
    lanes = [(entry["file"], entry["runtime"]) for entry in found["entries"]]
    assert {("net.goss", "gossamer"), ("net.onnx", "onnxruntime"), ("net.onnx", "gossamer")} <= set(lanes)
    for entry in found["entries"]:
        assert entry["runs"] == 20
        assert entry["batch"] == 2
        assert 0 < entry["low_ms"] <= entry["median_ms"] <= entry["high_ms"]
    assert found["entries"][0]["speedup"]["median"] == 1.0
    assert found["failures"] == []
    assert len(found["agreement"]) == len(lanes) * (len(lanes) - 1) // 2
    assert max(pair["max_abs_difference"] for pair in found["agreement"]) < 1e-5


def test_bench_says_what_it_left_out(gossamer, net):
    odd = program()
    unknown = Operation("Gemm", ("x", "w", "b"), ("y",), {"transB": 1}, "odd", "com.example")
    artifact.write(
        Program(odd.inputs, odd.outputs, (unknown,), odd.weights, {"": 18, "com.example": 1}), "odd.goss"
    )
    code, out, err = gossamer("bench", net, "odd.goss", "--runs", "2")
    assert code == 0
    assert "left out: odd.goss in gossamer" in err
    assert "net.goss" in out


def test_exported_is_the_same_network(gossamer, net):
    pytest.importorskip("onnx")
    from gossamer.onnx import load

    code, out, err = gossamer("export", net, "-o", "net.onnx")
    assert (code, out) == (0, "")
    assert "wrote net.onnx" in err
    assert artifact.same(load("net.onnx"), artifact.read(net))


def test_compress_writes_the_file_and_tells_its_stages(gossamer, users_code):
    arguments = ["compress", "mine:build", "--task", "mine:task", "--recipe", "recipe.yaml", "-o", "out.goss"]
    code, out, err = gossamer(*arguments, "--seed", "3", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["file_bytes"] == Path("out.goss").stat().st_size == found["stages"][-1]["file_bytes"]
    assert [stage["name"] for stage in found["stages"]] == [
        "original",
        "Prune(amount=0.5)",
        "Finetune(epochs=1)",
    ]
    first = Path("out.goss").read_bytes()
    assert gossamer(*arguments, "--seed", "3")[0] == 0
    assert Path("out.goss").read_bytes() == first
    assert gossamer(*arguments, "--seed", "4")[0] == 0
    assert Path("out.goss").read_bytes() != first


def test_interrupted_is_130(net):
    script = (
        "import signal, sys, time, gossamer.cli.inspect as i\n"
        # A shell's background job, such as a test run in CI, inherits that SIGINT is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "i.describe_file = lambda path: (print('ready', file=sys.stderr, flush=True), time.sleep(60))\n"
        "from gossamer.cli import main; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "inspect", net], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stderr.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_mistake(net):
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -c 'import sys; from gossamer.cli import main; "
         f"sys.exit(main())' inspect {net} --json | head -c 1"],
        capture_output=True, text=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr


def test_an_onnx_file_is_quantized_without_code(gossamer, tmp_path, monkeypatch):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {"w": rng.standard_normal((8, 3, 3, 3)), "m": rng.standard_normal((8, 5))}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("ReduceMean", ["z"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "m"], ["classes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 12, 12])],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, "net.onnx")
    images = rng.standard_normal((40, 3, 12, 12)).astype(np.float32)
    np.savez("images.npz", image=images)
    command = (
        "compress",
        "net.onnx",
        "--calib",
        "images.npz",
        "--recipe",
        "int8",
        "-o",
        "net.goss",
        "--json",
    )
    code, out, err = gossamer(*command)
    assert code == 0, err
    assert [stage["name"] for stage in json.loads(out)["stages"]] == ["original", "Quantize"]
    engine, plain = Engine("net.goss"), Engine("net.onnx")
    wanted = np.concatenate([plain(image=images[i : i + 1]) for i in range(40)])
    found = engine(image=images)
    assert 0 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
    code, _, err = gossamer(*command[:2], "--calib", "net.onnx", *command[4:])
    assert code == 1 and "not an .npz file" in err
    np.savez("images.npz", image=images[:, :, :9])
    code, _, err = gossamer(*command)
    assert code == 1 and "'image' is (40, 3, 9, 12); the network takes (examples, 3, 12, 12)" in err
    np.savez("images.npz", image=np.where(np.arange(40)[:, None, None, None] == 7, np.nan, images))
    code, _, err = gossamer(*command)
    assert code == 1 and "not a number (NaN) in example 7" in err


def test_the_module_is_the_command_line():
    for arguments, code in ((["--version"], 0), (["compress"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "gossamer", *arguments], capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr


def test_an_onnx_file_takes_ids_of_another_width(tmp_path):
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "m"], ["out"]),
    ]
    arrays = {"table": rng.standard_normal((12, 8)), "m": rng.standard_normal((8, 5))}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", 6])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 6, 5])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, tmp_path / "net.onnx")
    ids = rng.integers(0, 12, (10, 6))

    def compressed(array):
        np.savez(tmp_path / "ids.npz", ids=array)
        return run_compress(str(tmp_path / "net.onnx"), None, tmp_path / "ids.npz", "int8", None, 0)

    compressed(ids.astype(np.int32)).save(tmp_path / "net.goss")
    wanted = Engine(tmp_path / "net.onnx")(ids)
    assert 0 < np.abs(Engine(tmp_path / "net.goss")(ids) - wanted).max() < 0.05 * np.abs(wanted).max()
    with pytest.raises(InputError, match="'ids' of the network takes int64, and what is given is float64"):
        compressed(ids.astype(np.float64))
    with pytest.raises(
        InputError, match="'ids' holds \\d to 12; the embedding table that reads it has 12 rows"
    ):
        compressed(np.r_[ids, ids, np.arange(1, 13).reshape(2, 6)])
