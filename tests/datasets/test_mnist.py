"""The splits, the loader and its behaviour under accelerate on one and on two processes."""

import gzip
import os
import struct
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gossamer.datasets import MEAN, STD, Examples, loader, mnist, read_idx
from gossamer.errors import FormatError, TaskError

FOLDER = Path(__file__).parents[2] / "data" / "mnist"


@pytest.fixture(scope="module")
def digits():
    return mnist(FOLDER)


def test_splits_are_disjoint_pieces_of_the_published_files(digits) -> None:
    assert [len(split) for split in digits] == [55_000, 5_000, 10_000]
    labels = read_idx(FOLDER / "train-labels-idx1-ubyte.gz")
    np.testing.assert_array_equal(torch.cat([digits.train.targets, digits.valid.targets]), labels)
    pixels = read_idx(FOLDER / "train-images-idx3-ubyte.gz")
    images = torch.cat([digits.train.inputs, digits.valid.inputs])
    assert images.dtype == torch.float32
    assert images.shape == (60_000, 1, 28, 28)
    np.testing.assert_allclose(images[::97, 0], (pixels[::97] / 255.0 - MEAN) / STD, rtol=1e-5, atol=1e-6)


def test_training_images_are_normalised(digits) -> None:
    assert abs(digits.train.inputs.mean().item()) < 0.01
    assert abs(digits.train.inputs.std().item() - 1) < 0.01


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder in MNIST's form: 6 training and 2 test images of 3x3 pixels, files not gzipped."""
    generator = np.random.default_rng(0)
    for prefix, n in (("train", 6), ("t10k", 2)):
        for kind, shape in (("images-idx3", (n, 3, 3)), ("labels-idx1", (n,))):
            header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
            data = generator.integers(0, 10, shape, np.uint8).tobytes()
            (tmp_path / f"{prefix}-{kind}-ubyte").write_bytes(header + data)
    return tmp_path


def test_plain_and_gzipped_files_give_the_same(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    zipped = tmp_path_factory.mktemp("zipped")
    for path in tiny.iterdir():
        (zipped / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    plain, packed = mnist(tiny, valid=2), mnist(zipped, valid=2)
    assert [len(split) for split in plain] == [4, 2, 2]
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(plain, packed, strict=True))
    assert all(torch.equal(a.targets, b.targets) for a, b in zip(plain, packed, strict=True))


@pytest.mark.parametrize("valid", [0, -1, 6, 7])
def test_a_validation_split_that_leaves_nothing_is_an_error(tiny: Path, valid: int) -> None:
    with pytest.raises(TaskError, match=f"valid={valid}"):
        mnist(tiny, valid=valid)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"train-images-idx3-ubyte\.gz is missing"):
        mnist(tmp_path)


def test_labels_of_another_split_are_an_error(tiny: Path) -> None:
    (tiny / "train-labels-idx1-ubyte").write_bytes((tiny / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(FormatError, match=r"labels \(2,\) for images \(6, 3, 3\)"):
        mnist(tiny)


def test_images_that_are_none_are_an_error(tiny: Path) -> None:
    (tiny / "train-images-idx3-ubyte").write_bytes((tiny / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(FormatError, match=r"uint8 \(6,\), not bytes"):
        mnist(tiny)


def small(n: int = 23) -> Examples:
    return Examples(torch.arange(n * 2.0).reshape(n, 2), torch.arange(n))


def test_inputs_and_targets_of_different_length_are_an_error() -> None:
    with pytest.raises(TaskError, match="3 inputs but 2 targets"):
        Examples(torch.zeros(3), torch.zeros(2))


@pytest.mark.parametrize("drop_last", [False, True])
def test_loader_equals_the_one_that_stacks_single_examples(drop_last: bool) -> None:
    examples = small()
    plain = DataLoader(TensorDataset(examples.inputs, examples.targets), 5, shuffle=True, drop_last=drop_last)
    fast = loader(examples, 5, shuffle=True, drop_last=drop_last)
    for _epoch in range(2):
        seed = int(torch.randint(1 << 30, ()))
        torch.manual_seed(seed)
        expected = list(plain)
        torch.manual_seed(seed)
        batches = list(fast)
        assert len(batches) == len(expected) == len(fast)
        for (x, y), (x_expected, y_expected) in zip(batches, expected, strict=True):
            assert torch.equal(x, x_expected)
            assert torch.equal(y, y_expected)


def test_every_epoch_has_another_order() -> None:
    torch.manual_seed(0)
    batches = loader(small(), 23, shuffle=True)
    first, second = next(iter(batches))[1], next(iter(batches))[1]
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, second.sort().values)


WORKER = """
import sys, torch
from accelerate import Accelerator
from gossamer.datasets import Examples, loader
accelerator = Accelerator(cpu=True)
torch.manual_seed(7)
examples = Examples(torch.arange(24.0)[:, None], torch.arange(24))
batches = accelerator.prepare(loader(examples, 4, shuffle=True))
epochs = [[y.tolist() for x, y in batches] for _ in range(2)]
with open(f"{sys.argv[1]}/{accelerator.process_index}", "w") as file:
    file.write(repr(epochs))
accelerator.end_training()
"""


def deal(folder: Path, processes: int) -> list[list[list[list[int]]]]:
    """``[process][epoch][batch]`` of targets, as accelerate deals them to that many gloo processes."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(folder)]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command[1:1] = torchrun
    subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True)
    return [eval((folder / str(i)).read_text()) for i in range(processes)]


@pytest.mark.slow
def test_processes_share_each_epoch_without_overlap(tmp_path: Path) -> None:
    (alone,) = deal(tmp_path, 1)
    assert deal(tmp_path, 1) == [alone]
    for epoch in alone:
        assert sorted(chain(*epoch)) == list(range(24))
    first, second = deal(tmp_path, 2)
    for mine, theirs in zip(first, second, strict=True):
        assert sorted(chain(*mine, *theirs)) == list(range(24))
    assert first[0] != first[1]
