"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.report import _units as units


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.00 KB"),
        (22_049, "22.0 KB"),
        (999_499, "999 KB"),
        (999_990, "1.00 MB"),
        (1_066_440, "1.07 MB"),
        (32e9, "32.0 GB"),
        (5e15, "5,000 TB"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_sizes_are_decimal(value: float | None, text: str) -> None:
    assert plain(units.size(value)) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0.0, "0 µs"),
        (0.00025, "250 ns"),
        (0.0125, "12.5 µs"),
        (0.9999, "1.00 ms"),
        (84.1, "84.1 ms"),
        (12_000, "12.0 s"),
        (None, "–"),
    ],
)
def test_durations_take_the_unit_that_fits(milliseconds: float | None, text: str) -> None:
    assert plain(units.duration(milliseconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.8, "800 ms"),
        (24.0, "24.0 s"),
        (75, "1 min 15 s"),
        (3600, "1 h 0 min"),
        (8123, "2 h 15 min"),
        (None, "–"),
    ],
)
def test_spans(seconds: float | None, text: str) -> None:
    assert plain(units.span(seconds)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (266_610, "266,610"), (1_820_000_000, "1.82 billion"), (None, "–")]
)
def test_counts(value: float | None, text: str) -> None:
    assert plain(units.count(value)) == text


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (48.47, "48.5× smaller"),
        (1.0, "unchanged"),
        (1.004, "unchanged"),
        (0.5, "2.00× larger"),
        (12345.0, "12,345× smaller"),
        (None, "–"),
        (math.nan, "–"),
        (0.0, "–"),
    ],
)
def test_changes_in_words(factor: float | None, text: str) -> None:
    assert units.change(factor, "smaller", "larger") == text


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(8.0, 2.0, 4.0), (8.0, 0.0, None), (0.0, 8.0, None), (None, 1.0, None)]
)
def test_a_quotient_that_says_nothing_is_none(
    before: float | None, after: float | None, expected: float | None
) -> None:
    assert units.quotient(before, after) == expected


@given(st.floats(min_value=1e-6, max_value=1e14))
def test_three_significant_figures_are_kept(value: float) -> None:
    assert float(units.significant(value).replace(",", "")) == pytest.approx(value, rel=0.006)


@given(st.floats() | st.none())
def test_any_number_can_be_written(value: float | None) -> None:
    for write in (units.size, units.duration, units.span, units.count, units.bits, units.ratio):
        text = write(value)
        assert text
        assert "nan" not in text
        assert "inf" not in text
