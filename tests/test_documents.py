"""Law 7: the numbers in the README and the docs are those that a committed benchmark run wrote there."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench"))

import deep_compression_page as page  # noqa: E402
import kernels  # noqa: E402
import quantization_page  # noqa: E402


@pytest.fixture(scope="module")
def results():
    return json.loads((ROOT / "bench" / "results" / "deep-compression.json").read_text())


def test_the_readme_says_what_the_bench_measured(results, tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text((ROOT / "README.md").read_text())
    page.write_readme(results, copy)
    assert copy.read_text() == (ROOT / "README.md").read_text()


def test_the_page_says_what_the_bench_measured(results, tmp_path):
    reached = page.write_page(results, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == (
        ROOT / "docs" / "results" / "deep-compression.md"
    ).read_text()
    assert reached, "a figure is beyond its limit"


def test_the_files_are_those_that_were_measured(results):
    for stem, outcomes in results["outcomes"].items():
        seed0 = next(outcome for outcome in outcomes if outcome["seed"] == 0)
        assert (ROOT / "bench" / "out" / f"{stem}.goss").stat().st_size == seed0["bytes"]
        assert (ROOT / "bench" / "out" / f"{stem}-huffman.goss").stat().st_size == seed0["huffman_bytes"]


@pytest.mark.parametrize(
    "document", sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]), ids=lambda p: p.name
)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_quantization_page_says_what_the_bench_measured(tmp_path):
    found = json.loads((ROOT / "bench" / "results" / "quantization.json").read_text())
    quantization_page.write_page(found, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == (ROOT / "docs" / "results" / "quantization.md").read_text()


def test_the_readme_says_what_the_promise_measured(tmp_path):
    found = json.loads((ROOT / "bench" / "results" / "quantization.json").read_text())
    copy = tmp_path / "README.md"
    copy.write_text((ROOT / "README.md").read_text())
    quantization_page.write_readme(found, copy)
    assert copy.read_text() == (ROOT / "README.md").read_text()
    copy.write_text("without marks")
    with pytest.raises(ValueError, match="bench: promise"):
        quantization_page.write_readme(found, copy)


def test_the_page_of_kernels_says_what_the_bench_measured():
    found = json.loads(kernels.RESULTS.read_text())
    assert {row["table"] for row in found["rows"]} == set(kernels.HEADS)
    assert kernels.page(found) == kernels.PAGE.read_text()
