"""The page as text: what it says, that it loads nothing, that names stay names, that it is written whole."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import samples

from gossamer.errors import MissingDependencyError, SaveError
from gossamer.measure.records import Comparison, Latency
from gossamer.report import _page, render, write_report
from gossamer.report._bars import BAR_LIMIT
from gossamer.report._headline import speeds
from gossamer.report._layers import distinct, shorten, split, unassigned
from gossamer.report._quality import Quality
from gossamer.report._stages import points
from gossamer.report._vega import _log_ticks

SAMPLES = {
    "lenet": samples.lenet(),
    "deep": samples.deep(60),
    "bare": samples.bare(),
    "hostile": samples.hostile(),
    "odd": samples.odd(),
}


class Outline(HTMLParser):
    """Elements, their attributes, and the text outside of scripts and styles."""

    VOID = frozenset({"meta", "wbr", "br", "img", "input", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).replace("\N{NO-BREAK SPACE}", " ").split())


def outline(comparison: Comparison) -> Outline:
    return Outline(render(comparison))


def chart_data(page: str) -> dict[str, dict[str, dict[str, object]]]:
    found = re.search(r'<script type="application/json" id="chart-data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))  # type: ignore[no-any-return]


def test_the_headline_says_what_came_of_it() -> None:
    said = outline(samples.lenet()).text
    size = samples.lenet().final.file_bytes
    for text in [
        f"LeNet-300-100 : {1_066_440 / size:.1f}× smaller",
        f"{size / 1000:.1f} KB",
        "was 1.07 MB",
        "98.45 %",
        "0.03 points better",
        "14.2× faster than torch eager",
        "3.04× faster than the original in gossamer",
        "was 238 MB",
        "avx512",
        "2026-01-15 09:30:00 UTC",
        "not pruned: only 1,000 weights",
    ]:
        assert text in said


@pytest.mark.parametrize("name", SAMPLES)
def test_elements_nest_and_ids_are_unique(name: str) -> None:
    page = outline(SAMPLES[name])
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [str(a["href"])[1:] for tag, a in page.elements if tag == "a"]
    labels = [str(a["aria-labelledby"]) for _, a in page.elements if "aria-labelledby" in a]
    assert targets
    assert set(targets) | set(labels) <= set(ids)


@pytest.mark.parametrize("name", SAMPLES)
def test_headings_descend_without_gaps(name: str) -> None:
    levels = [int(tag[1]) for tag, _ in outline(SAMPLES[name]).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_is_loaded_from_anywhere(name: str) -> None:
    page = render(SAMPLES[name])
    for tag, attributes in Outline(page).elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        for attribute in ("src", "srcset", "data", "action", "poster", "background"):
            assert attribute not in attributes, (tag, attributes)
        assert attributes.get("href", "#").startswith("#")  # type: ignore[union-attr]
        assert not any(attribute.startswith("on") for attribute in attributes), (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policies = [str(a["content"]) for _, a in Outline(page).elements if "http-equiv" in a]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")
    assert "unsafe-eval" not in policies[0]
    assert not re.search(r"(https?:|data:|\*)", policies[0])


@pytest.mark.parametrize("attack", samples.ATTACKS)
def test_a_hostile_name_stays_text(attack: str) -> None:
    plain = samples.lenet()
    layers = tuple(dataclasses.replace(entry, name=attack) for entry in plain.final.layers)
    page = render(
        dataclasses.replace(plain, name=attack, final=dataclasses.replace(plain.final, layers=layers))
    )
    page.encode()  # no lone surrogate is left
    harmless = render(dataclasses.replace(plain, name="net"))
    assert page.lower().count("<script") == harmless.lower().count("<script")
    assert len(Outline(page).elements) - page.count("<wbr>") == len(
        Outline(harmless).elements
    ) - harmless.count("<wbr>")
    assert [layer["layer"] for layer in chart_data(page)["charts"]["layers-bytes"]["datasets"]["bars"]]  # type: ignore[index]


def test_marks_that_turn_the_direction_of_text_are_replaced() -> None:
    page = render(dataclasses.replace(samples.bare(), name="a\u202eb\x00c\nd"))
    assert "a\ufffdb\ufffdc d" in page


def test_another_process_writes_the_same_page(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
import samples
from gossamer.report import write_report
write_report(samples.hostile(), {str(tmp_path / "page.html")!r})
"""
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == render(samples.hostile())


def test_the_page_is_light() -> None:
    assert len(render(samples.lenet()).encode()) < 1_100_000
    assert len(render(samples.deep(200)).encode()) < 1_600_000
    assert len(render(samples.bare()).encode()) < 20_000  # no chart, no chart library


def test_two_hundred_layers_are_all_in_the_table_and_the_largest_in_the_charts() -> None:
    comparison = samples.deep(200)
    page = render(comparison)
    charts = chart_data(page)["charts"]
    assert len(charts["layers-bytes"]["datasets"]["rows"]) == BAR_LIMIT + 1  # type: ignore[index]
    assert f"the {200 - BAR_LIMIT} others together" in page
    text = "".join(Outline(page).said)
    assert all(layer.name in text for layer in comparison.final.layers)
    names = [row["name"] for row in charts["layers-bytes"]["datasets"]["rows"]]  # type: ignore[index]
    assert len(set(names)) == len(names)


def rows_of(comparison: Comparison, chart: str) -> list[dict[str, object]]:
    return chart_data(render(comparison))["charts"][chart]["datasets"]["rows"]  # type: ignore[index, return-value]


def test_every_step_has_its_bar_and_its_row() -> None:
    comparison = samples.lenet()
    rows = rows_of(comparison, "steps-compressed")
    assert [row["name"] for row in rows] == ["fc1", "fc2", "fc3", "Softmax"]
    assert [row["end"] for row in rows] == pytest.approx([1.52e-3, 0.37e-3, 0.12e-3, 0.06e-3])
    assert [row["name"] for row in rows_of(comparison, "steps-original")] == ["fc1", "fc2", "fc3", "Softmax"]
    said = outline(comparison).text
    for text in [
        "Time of each step: original, 10.8 µs",
        "Time of each step: compressed file, 2.07 µs",
        "fc1 1.52 µs 73.4 % 18,816 MatMul+Add+Relu sparse/avx512",
        "fc3 120 ns 5.80 % 1,000 Gemm gemm/avx512 sparse weights decoded while loading",
        "fc1 9.38 µs 87.1 % 235,200 Gemm+Relu gemm/avx512",
        "measured step by step",
    ]:
        assert text in said


def test_both_charts_of_steps_have_one_axis() -> None:
    specs = chart_data(render(samples.lenet()))["specs"]
    domains = [
        specs[key]["layer"][0]["encoding"]["x"]["scale"]["domain"]  # type: ignore[index]
        for key in ("steps-original", "steps-compressed")
    ]
    assert domains == [[0, pytest.approx(1.25 * 9.38e-3)]] * 2


def test_steps_of_one_network_or_of_none() -> None:
    plain = samples.lenet()
    without = dataclasses.replace(plain, original=dataclasses.replace(plain.original, steps=()))
    page = render(without)
    assert "steps-original" not in page
    assert page.count('id="steps-compressed"') == 1
    neither = dataclasses.replace(without, final=dataclasses.replace(plain.final, steps=()))
    assert "Where the time went" not in render(neither)


def test_the_slowest_steps_are_in_the_chart_and_all_in_the_table() -> None:
    comparison = samples.deep(60)
    rows = rows_of(comparison, "steps-compressed")
    assert len(rows) == BAR_LIMIT
    slowest = sorted(step.microseconds for step in comparison.final.steps)[-BAR_LIMIT:]
    assert sorted(row["end"] for row in rows) == pytest.approx([time / 1e3 for time in slowest])  # type: ignore[type-var]
    section = render(comparison).partition('<section id="time"')[2].partition("</section>")[0]
    assert section.count('<th scope="row"') == 60 + 1


def test_times_that_are_none_are_left_out() -> None:
    assert [row["name"] for row in rows_of(samples.odd(), "steps-compressed")] == [
        "at once",
        "Gemm",
        "for ever",
    ]
    assert "steps-original" not in render(samples.odd())


def test_bytes_of_a_layer_are_split_by_what_was_measured() -> None:
    layer = dataclasses.replace(
        samples.layer("fc", (100, 80), 0.1), kept=800, weight_bits_coded=4.0, index_bits_coded=3.0, bytes=800
    )
    parts = split(layer)
    assert (parts.values, parts.indices, parts.rest, parts.known) == (400, 300, 100, True)
    # Bits that contradict the bytes are not drawn as if they were true.
    whole = split(dataclasses.replace(layer, bytes=500))
    assert (whole.values, whole.indices, whole.rest, whole.known) == (500, 0, 0, False)


def test_every_byte_is_in_the_chart() -> None:
    comparison = samples.lenet()
    pieces = chart_data(render(comparison))["charts"]["layers-bytes"]["datasets"]["bars"]  # type: ignore[index]
    drawn = sum(piece["end"] - piece["start"] for piece in pieces)
    assert drawn == pytest.approx(comparison.final.file_bytes, rel=1e-4)
    assert unassigned(comparison.final) == 402


def test_pareto_optimal_stages_are_marked() -> None:
    rows = points(samples.lenet())
    assert [row.number for row in rows] == list(range(12))
    assert rows[-1].measurement is samples.lenet().final or rows[-1].measurement == samples.lenet().final
    for row in rows:
        beaten = any(
            other.measurement.metric >= row.measurement.metric  # type: ignore[operator]
            and other.measurement.file_bytes <= row.measurement.file_bytes
            and (other.measurement.metric, other.measurement.file_bytes)
            != (row.measurement.metric, row.measurement.file_bytes)
            for other in rows
        )
        assert row.best_size == (not beaten)


def test_the_file_that_ships_is_a_point_of_its_own_when_no_stage_is_it() -> None:
    comparison = samples.lenet()
    shipped = dataclasses.replace(comparison.final, file_bytes=comparison.final.file_bytes - 1)
    assert points(dataclasses.replace(comparison, final=shipped))[-1].name == "file that ships"


def test_delta_compares_with_the_compressed_file_on_the_same_batch_and_threads() -> None:
    rows = {(row.network, row.latency.runtime, row.latency.batch): row for row in speeds(samples.lenet())}
    assert rows["original", "torch eager", 1].delta == pytest.approx(61.2 / 4.31)
    assert rows["original", "torch eager", 64].delta == pytest.approx(212 / 97)
    assert rows["compressed", "gossamer", 64].reference


def test_delta_is_paired_block_by_block_where_the_race_was_recorded() -> None:
    plain = samples.lenet()
    theirs = Latency("torch eager", 1, 1, 4.0, 3.0, 9.0, 60, blocks_ms=(2.0, 4.0, 9.0))
    ours = Latency("gossamer", 1, 1, 1.0, 1.0, 3.0, 60, blocks_ms=(1.0, 1.0, 3.0))
    raced = dataclasses.replace(
        plain,
        original=dataclasses.replace(plain.original, latencies=(theirs,)),
        final=dataclasses.replace(plain.final, latencies=(ours,)),
    )
    row = speeds(raced)[0]
    assert (row.delta, row.spread) == (3.0, (2.5, 3.5))
    assert "2.50× to 3.50×" in outline(raced).text


@pytest.mark.parametrize(
    ("name", "maximize", "before", "after", "texts"),
    [
        ("accuracy", True, 0.98, 0.97, ("98.00 %", "97.00 %", "1.00 points worse")),
        ("error rate", False, 0.02, 0.01, ("2.00 %", "1.00 %", "1.00 points better")),
        ("accuracy", True, 98.0, 98.5, ("98", "98.5", "0.5 better")),
        ("loss", False, 0.5, 0.25, ("0.5", "0.25", "0.25 better")),
        ("perplexity", False, 21.123456, 21.123457, ("21.12", "21.12", "unchanged")),
        ("accuracy", True, 0.98, math.nan, ("98.00 %", "not a number", "")),
        ("accuracy", True, None, 0.98, ("–", "98.00 %", "")),
    ],
)
def test_the_metric_in_words(
    name: str, maximize: bool, before: float | None, after: float | None, texts: tuple[str, str, str]
) -> None:
    plain = samples.bare()
    comparison = dataclasses.replace(
        plain,
        metric_name=name,
        maximize=maximize,
        original=dataclasses.replace(plain.original, metric=before),
        final=dataclasses.replace(plain.final, metric=after),
    )
    quality = Quality.of(comparison)
    said = (quality.text(before), quality.text(after), quality.difference(before, after))
    assert tuple(text.replace("\N{NO-BREAK SPACE}", " ") for text in said) == texts
    assert html.escape(texts[1]) in render(comparison).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("low", [1e-6, 0.9, 3.7, 4.0e3])
@pytest.mark.parametrize("factor", [1.4, 2.0, 5.0, 60.0, 1e4, 1e12])
def test_a_logarithmic_axis_has_few_round_ticks(low: float, factor: float) -> None:
    ticks = _log_ticks(low, low * factor)
    assert len(ticks) <= 6
    assert ticks or factor < 10
    assert all(low <= tick <= low * factor for tick in ticks)
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize("name", ["fc", "encoder.layers.3.self_attn.q_proj.weight", "x" * 400])
@pytest.mark.parametrize("width", [12, 20, 46])
def test_a_shortened_name_fits_and_keeps_both_ends(name: str, width: int) -> None:
    short = shorten(name, width)
    assert len(short) <= width
    assert short[:4] == name[:4]
    assert short[-4:] == name[-4:]


def test_names_in_a_chart_leave_out_the_path_that_all_share() -> None:
    names = [f"model.backbone.layers.{i}.conv.weight" for i in range(3)]
    assert distinct(names, 20) == [f"…{i}.conv.weight" for i in range(3)]
    assert distinct(names, 50) == names
    assert distinct([], 20) == []
    assert len(distinct(["only." * 20], 20)[0]) == 20


def test_writing_replaces_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(samples.lenet(), path)
    assert path.read_text(encoding="utf-8") == render(samples.lenet())
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "report.html"
    path.write_text("old")
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(SaveError, match=r"report\.html.*unchanged"):
            write_report(samples.lenet(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("place", ["missing/report.html", "."])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(SaveError, match=r"cannot write the report to .*repair"):
        write_report(samples.bare(), tmp_path / place)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("module", "package"), [("jinja2", "jinja2"), ("vl_convert", "vl-convert-python")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: str, package: str) -> None:
    _page._template.cache_clear()
    _page._library.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=f"{package}.*pip install"):
        render(samples.lenet())
