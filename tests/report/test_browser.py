"""The page in a browser without a network: charts drawn, no complaint, no overflow, dark is dark."""

from __future__ import annotations

from pathlib import Path

import pytest
import samples
from chromium import Chromium

from gossamer.report import write_report

PAGES = {
    "lenet": samples.lenet,
    "deep": lambda: samples.deep(60),
    "bare": samples.bare,
    "hostile": samples.hostile,
    "odd": samples.odd,
}
# Boxes that reach beyond the page's width, other than what scrolls inside a box of its own.
OVERFLOWING = """
[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  const outside = box.right > innerWidth + 0.5 || box.left < -0.5;
  return box.width > 0 && outside && !e.closest('.scroll') && !e.closest('svg');
}).map(e => e.outerHTML.slice(0, 120))
"""
# Texts and marks of charts that the edge of their svg cuts off.
CLIPPED = """
[...document.querySelectorAll('.chart svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  const shown = t => t.textContent && getComputedStyle(t).opacity !== '0';
  return [...svg.querySelectorAll('text')].filter(shown).filter(t => {
    const box = t.getBoundingClientRect();
    return box.right > frame.right + 1 || box.left < frame.left - 1
      || box.bottom > frame.bottom + 1 || box.top < frame.top - 1;
  }).map(t => svg.closest('.chart').id + ': ' + t.textContent);
})
"""
MARKS = """
[...document.querySelectorAll('.chart')].filter(c => !c.closest('details:not([open])'))
  .map(c => [c.id, c.querySelectorAll('svg path').length])
"""
# WCAG contrast of every element that has text of its own against the background that lies behind it.
CONTRASTS = """
(() => {
  const channels = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const scale = colour => (colour.startsWith('color(') ? 255 : 1);
  const luminance = colour => channels(colour).slice(0, 3).map(c => c * scale(colour) / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      const parts = channels(colour);
      if (parts.length === 3 || parts[3] > 0) return colour;
    }
  };
  const ratios = {};
  for (const e of document.querySelectorAll('body *:not(script):not(style):not(noscript)')) {
    if (e.closest('svg') || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const key = e.tagName + '.' + e.className;
    ratios[key] = Math.min(ratios[key] ?? 99, ratio);
  }
  return ratios;
})()
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, sample in PAGES.items():
        write_report(sample(), folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in PAGES}


@pytest.mark.parametrize(("name", "width"), [(name, width) for name in PAGES for width in (1280, 360)])
def test_the_page_shows_at_every_width(
    browser: Chromium, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.show(pages[name], width)
    assert browser.complaints == []
    assert browser.requests == [pages[name].as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.evaluate(CLIPPED) == []
    marks = browser.evaluate(MARKS)
    assert bool(marks) == (name != "bare")
    assert [chart for chart, count in marks if count < 3] == []
    spoken = "[...document.querySelectorAll('.chart')].map(c => [c.getAttribute('role'), c.ariaLabel])"
    for role, label in browser.evaluate(spoken):
        assert role == "img"
        assert len(label) > 10
        assert label != "Vega visualization"


def test_every_chart_of_a_whole_record_is_there(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.show(pages["lenet"], 1280)
    drawn = browser.evaluate("[...document.querySelectorAll('.chart svg')].map(s => s.closest('.chart').id)")
    assert drawn == [
        "stages-size",
        "stages-latency",
        "steps-original",
        "steps-compressed",
        "layers-bytes",
        "layers-percent",
        "layers-count",
        *(f"histogram-{index}" for index in range(3)),
    ]


def test_every_centroid_has_its_tick(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.show(pages["lenet"], 1280)
    count = len(samples.lenet().final.layers[0].centroids or ())
    assert count == 32
    assert browser.evaluate("document.querySelectorAll('#histogram-0 .mark-rule line').length") >= count


def test_folded_charts_are_drawn_when_their_fold_opens(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.show(pages["deep"], 390)
    assert browser.evaluate("document.querySelectorAll('#weights svg').length") == 12
    browser.evaluate("document.querySelector('#weights details').open = true")
    browser.wait("document.querySelectorAll('#weights svg').length === 60")
    assert browser.complaints == []
    assert browser.evaluate(CLIPPED) == []


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark(browser: Chromium, pages: dict[str, Path], dark: bool) -> None:
    browser.show(pages["lenet"], 1280, dark=dark)
    assert browser.complaints == []
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == dark
    contrasts = browser.evaluate(CONTRASTS)
    assert len(contrasts) > 15
    assert {key: ratio for key, ratio in contrasts.items() if ratio < 4.5} == {}


def test_charts_take_the_colours_of_the_scheme(browser: Chromium, pages: dict[str, Path]) -> None:
    colours = {}
    for dark in (False, True):
        browser.show(pages["lenet"], 1280, dark=dark)
        probe = "getComputedStyle(document.querySelector('#layers-bytes svg .mark-text text')).fill"
        bar = "getComputedStyle(document.querySelector('#layers-bytes svg .mark-rect path')).fill"
        colours[dark] = browser.evaluate(f"[{probe}, {bar}]")
    assert all(light != dark for light, dark in zip(colours[False], colours[True], strict=True))


def test_printed_it_is_light_and_shows_whole_tables(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.show(pages["deep"], 1280, dark=True, media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = "[...document.querySelectorAll('.scroll')].filter(s => s.scrollHeight > s.clientHeight + 1).length"
    assert browser.evaluate(cut) == 0
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_the_keyboard_reaches_links_tables_and_folds(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.show(pages["deep"], 390)
    reachable = (
        "[...document.querySelectorAll('a, summary, [tabindex]')]"
        ".filter(e => e.tabIndex >= 0).map(e => e.className || e.tagName)"
    )
    names = browser.evaluate(reachable)
    assert names.count("scroll") == 4
    assert {"A", "SUMMARY"} <= set(names)


def test_no_hostile_name_runs(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.show(pages["hostile"], 1280)
    # Tooltips too: they are written as HTML when the pointer is over a mark.
    browser.evaluate("document.querySelector('#layers-bytes svg').scrollIntoView({block: 'center'})")
    box = browser.evaluate(
        "(b => [b.x + 6, b.y + b.height / 2])"
        "(document.querySelector('#layers-bytes svg .mark-rect path').getBoundingClientRect())"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    browser.wait("document.querySelector('#vg-tooltip-element')?.textContent.includes('layer')")
    assert "script" in browser.evaluate("document.querySelector('#vg-tooltip-element').textContent")
    assert (
        browser.evaluate(
            "document.querySelectorAll('#vg-tooltip-element script, #vg-tooltip-element img').length"
        )
        == 0
    )
    assert browser.evaluate("document.title") != "owned"
    assert browser.complaints == []
