"""Schedules are functions of progress alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.errors import RecipeError
from gossamer.train import Constant, Cosine, Exponential, OneCycle, Step

SCHEDULES = [Constant(), Cosine(), Cosine(warmup=2, final=0.1), Step(3), Exponential(0.9), OneCycle()]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@given(share=st.floats(0, 1), epochs=st.integers(1, 500))
def test_the_factor_is_between_0_and_1(schedule, share, epochs) -> None:
    assert -1e-12 <= schedule.factor(share * epochs, epochs) <= 1 + 1e-12


@pytest.mark.parametrize(
    ("schedule", "progress", "epochs", "factor"),
    [
        (Constant(), 3.3, 10, 1.0),
        (Cosine(), 0.0, 10, 1.0),
        (Cosine(), 5.0, 10, 0.5),
        (Cosine(), 10.0, 10, 0.0),
        (Cosine(final=0.2), 10.0, 10, 0.2),
        (Cosine(warmup=4), 1.0, 10, 0.25),
        (Cosine(warmup=4), 4.0, 10, 1.0),
        (Cosine(warmup=4), 7.0, 10, 0.5),
        (Cosine(warmup=20), 5.0, 10, 0.25),
        (Step(2, 0.1), 1.99, 10, 1.0),
        (Step(2, 0.1), 2.0, 10, 0.1),
        (Step(2, 0.1), 9.0, 10, 1e-4),
        (Exponential(0.5), 3.0, 10, 0.125),
        (OneCycle(), 0.0, 10, 0.04),
        (OneCycle(), 3.0, 10, 1.0),
        (OneCycle(), 10.0, 10, 1e-4),
        (OneCycle(rise=0.5, start=0.0, final=0.0), 2.5, 10, 0.5),
    ],
    ids=str,
)
def test_known_values(schedule, progress, epochs, factor) -> None:
    assert math.isclose(schedule.factor(progress, epochs), factor, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cosine(warmup=-1),
        lambda: Cosine(final=1.5),
        lambda: Step(0),
        lambda: Step(1, 0.0),
        lambda: Exponential(0.0),
        lambda: OneCycle(rise=1.0),
        lambda: OneCycle(start=2.0),
    ],
)
def test_settings_that_make_no_sense(make) -> None:
    with pytest.raises(RecipeError, match="needs"):
        make()
