"""The codec's decoders under AddressSanitizer and UndefinedBehaviorSanitizer, fed with changed seeds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import fuzz_seeds
import pytest

ROOT = Path(__file__).parent.parent.parent
NATIVE = ROOT / "native"
SEEDS = NATIVE / "fuzz" / "seeds"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


def test_the_committed_seeds_are_what_the_coders_write():
    assert {path.name: path.read_bytes() for path in SEEDS.iterdir()} == fuzz_seeds.seeds()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    assert compiler, "a C++ compiler is needed: apt-get install g++"
    path = tmp_path_factory.mktemp("fuzz") / "fuzz_codec"
    sources = sorted([*NATIVE.glob("codec/*.cc"), *NATIVE.glob("fuzz/*.cc")])
    subprocess.run(
        [compiler, "-std=c++20", "-O1", "-g1", *SANITIZE, f"-I{NATIVE}", "-o", path, *sources], check=True
    )
    return path


@pytest.mark.slow
def test_decoders_survive_changed_seeds(driver):
    run = subprocess.run([driver, SEEDS, "--runs", "20000"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{len(list(SEEDS.iterdir()))} seeds, 20000 runs\n"
