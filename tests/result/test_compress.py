"""The whole path: a model in, a file out that an Engine runs, measured, resumable; and what goes wrong is said."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gossamer as gs
from gossamer import artifact, weights
from gossamer.artifact import DeepCompression
from gossamer.errors import CheckpointError, RecipeError, SaveError, TaskError, TraceError, UnsupportedError

RECIPE = [gs.Repeat(2, [gs.Prune(0.8), gs.Finetune(epochs=1)]), gs.Cluster(bits=3), gs.Finetune(epochs=1)]


def network():
    torch.manual_seed(1)
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(1, 4, 3, padding=1))
    model.add_module("bn1", nn.BatchNorm2d(4))
    model.add_module("act1", nn.ReLU())
    model.add_module("pool", nn.MaxPool2d(2))
    model.add_module("flat", nn.Flatten())
    model.add_module("fc1", nn.Linear(64, 16))
    model.add_module("act2", nn.ReLU())
    model.add_module("fc2", nn.Linear(16, 4))
    return model


def batches(count=4, size=16):
    generator = torch.Generator().manual_seed(2)
    images = [torch.randn(size, 1, 8, 8, generator=generator) for _ in range(count)]
    return [(x, x.flatten(1)[:, :4].argmax(1)) for x in images]


def task(**changes):
    data = batches()
    given = {"train": data, "valid": data, "loss": F.cross_entropy, "metric": gs.metrics.accuracy} | changes
    return gs.Task(**given)


@pytest.fixture(scope="module")
def result():
    return gs.compress(network(), task(), RECIPE, name="small")


def test_the_file_is_what_the_graph_computes(result, tmp_path):
    path = tmp_path / "small.goss"
    result.save(path)
    engine = gs.Engine(path)
    for size in (1, 5, 16):
        x = torch.randn(size, 1, 8, 8)
        with torch.no_grad():
            expected = result.graph.eval()(x)
        np.testing.assert_allclose(engine(x.numpy()), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_file_holds_the_representations(result, tmp_path):
    result.save(tmp_path / "small.goss")
    shipped = gs.load(tmp_path / "small.goss").weights
    for name in ("conv1.weight", "fc1.weight", "fc2.weight"):
        weight = shipped[name]
        assert isinstance(weight, weights.Sparse) and isinstance(weight.values, weights.Codebook), name
        assert len(weight.values.centroids) <= 8
        assert weights.nonzeros(weight) <= round(0.2 * np.prod(weights.shape(weight))) + 1


def test_the_model_of_the_user_stays_as_it_was():
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gs.compress(model, task(), RECIPE)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_every_stage_is_a_file_that_was_measured(result):
    assert [stage.name for stage in result.stages] == [
        "original",
        "Repeat(times=2)",
        "Cluster(bits=3)",
        "Finetune(epochs=1)",
    ]
    sizes = [len(stage.data) for stage in result.stages]
    assert sizes[0] > sizes[1] > sizes[2]
    for stage in result.stages:
        program = artifact.unpack(stage.data)
        outputs = [gs.Engine(program)(x.numpy()) for x, _ in batches()]
        targets = np.concatenate([y.numpy() for _, y in batches()])
        assert stage.metric == pytest.approx(float((np.concatenate(outputs).argmax(1) == targets).mean()))


def test_the_comparison_says_what_the_files_are(result):
    comparison = result.comparison
    assert comparison.final.file_bytes == len(result.stages[-1].data)
    stored = [value for value in network().state_dict().values() if value.is_floating_point()]
    assert comparison.original.parameters == sum(value.numel() for value in stored)
    assert comparison.compression_rate == comparison.original.file_bytes / comparison.final.file_bytes
    assert {latency.runtime for latency in comparison.original.latencies} >= {"torch eager"}
    assert comparison.final.latencies and comparison.final.peak_memory_bytes


def test_the_report_is_a_page(result, tmp_path):
    result.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "small" in page and "fc1" in page


def test_saving_with_the_papers_coding(result, tmp_path):
    result.save(tmp_path / "default.goss")
    result.save(tmp_path / "huffman.goss", coding=DeepCompression())
    assert artifact.same(gs.load(tmp_path / "default.goss"), gs.load(tmp_path / "huffman.goss"))
    assert (tmp_path / "default.goss").stat().st_size < (tmp_path / "huffman.goss").stat().st_size


def test_save_takes_graphs_programs_and_results(result, tmp_path):
    for number, thing in enumerate([result, result.program, result.graph]):
        gs.save(thing, tmp_path / f"{number}.goss")
    files = {(tmp_path / f"{number}.goss").read_bytes() for number in range(3)}
    assert len(files) == 1
    with pytest.raises(UnsupportedError, match="Sequential"):
        gs.save(network(), tmp_path / "model.goss")


# --- killed and continued ---------------------------------------------------------------------------------------------


def run_killable(*arguments):
    program = Path(__file__).with_name("killable.py")
    return subprocess.run([sys.executable, program, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(tmp_path):
    whole = run_killable(tmp_path / "a", tmp_path / "whole.goss")
    assert whole.returncode == 0, whole.stderr
    for steps in (0, 7, 12):  # at once; in the second epoch; in the second round
        run = run_killable(tmp_path / "b", tmp_path / "parts.goss", steps)
        assert run.returncode == -signal.SIGKILL, run.stderr
    last = run_killable(tmp_path / "b", tmp_path / "parts.goss")
    assert last.returncode == 0, last.stderr
    assert (tmp_path / "parts.goss").read_bytes() == (tmp_path / "whole.goss").read_bytes()


def test_a_finished_run_is_not_run_again(tmp_path):
    def unwanted(outputs, targets):
        raise AssertionError("trained again")

    first = gs.compress(network(), task(), RECIPE, checkpoint=tmp_path)
    again = gs.compress(network(), task(loss=unwanted), RECIPE, checkpoint=tmp_path)
    assert [stage.data for stage in again.stages] == [stage.data for stage in first.stages]
    assert [stage.notes for stage in again.stages] == [stage.notes for stage in first.stages]


def test_the_checkpoint_of_another_recipe_is_refused(tmp_path):
    gs.compress(network(), task(), [gs.Prune(0.5)], checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="another model or recipe"):
        gs.compress(network(), task(), [gs.Prune(0.6)], checkpoint=tmp_path)


def test_a_checkpoint_folder_that_is_a_file(tmp_path):
    place = tmp_path / "taken"
    place.write_text("mine")
    for folder in (place, place / "inside"):
        with pytest.raises(SaveError, match="could not be written"):
            gs.compress(network(), task(), [gs.Prune(0.5)], checkpoint=folder)
    assert place.read_text() == "mine"


# --- what goes wrong --------------------------------------------------------------------------------------------------


def nan_network():
    model = network()
    with torch.no_grad():
        model.fc1.weight[0, 0] = float("nan")
    return model


BAD = {
    "NaN weights": (lambda: gs.compress(nan_network(), task(), RECIPE), TraceError, "fc1.weight"),
    "an empty loader": (
        lambda: gs.compress(network(), task(train=iter_nothing()), RECIPE),
        TaskError,
        "no batch",
    ),
    "a metric that returns a tensor": (
        lambda: gs.compress(network(), task(metric=lambda outputs, targets: outputs.mean()), RECIPE),
        TaskError,
        r"\.item\(\)",
    ),
    "a layer that is not there": (
        lambda: gs.compress(network(), task(), [gs.Prune(0.5, overrides={"fc9": 0.1})]),
        RecipeError,
        "no layer is called 'fc9'; the layers are: conv1, fc1, fc2",
    ),
    "a recipe that is none": (
        lambda: gs.compress(network(), task(), ["Prune"]),
        RecipeError,
        "list of passes",
    ),
    "no data at all": (lambda: gs.compress(network(), gs.Task(), RECIPE), TaskError, "train"),
    "no module": (lambda: gs.compress(lambda x: x, task(), RECIPE), TraceError, "function"),
}


def iter_nothing():
    class Nothing:
        def __iter__(self):
            return iter(())

    return Nothing()


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named(case):
    action, error, message = BAD[case]
    with pytest.raises(error, match=message):
        action()


def test_a_full_disk_leaves_the_old_file_whole(result, tmp_path):
    path = tmp_path / "net.goss"
    path.write_bytes(b"the old file")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(SaveError, match=r"net\.goss"):
            result.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"the old file"
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.goss"]
