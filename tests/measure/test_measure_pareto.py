import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gossamer.measure import pareto

points = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=st.integers(-3, 3).map(float)
)
flags = st.tuples(st.booleans(), st.booleans(), st.booleans())


def beats(a, b, maximize):
    better = [(x > y) if most else (x < y) for x, y, most in zip(a, b, maximize, strict=True)]
    return any(better) and all(w or x == y for w, x, y in zip(better, a, b, strict=True))


@given(points, flags)
def test_optimal_is_what_nothing_beats(values, maximize):
    expected = [not any(beats(other, point, maximize) for other in values) for point in values]
    assert pareto(values, maximize).tolist() == expected


@given(points, flags)
def test_somebody_is_always_optimal_and_equal_points_share_it(values, maximize):
    front = pareto(values, maximize)
    assert front.any()
    assert pareto(np.concatenate([values, values]), maximize).tolist() == [*front, *front]


def test_accuracy_against_size():
    front = pareto([[0.98, 20], [0.98, 30], [0.99, 40]], maximize=[True, False])
    assert front.tolist() == [True, False, True]


def test_no_points():
    assert pareto([], maximize=[True]).tolist() == []


@pytest.mark.parametrize(
    ("values", "message"), [([[1, 2, 3]], r"\(1, 3\)"), ([[1, 2], [3, float("nan")]], "point 1")]
)
def test_refused(values, message):
    with pytest.raises(ValueError, match=message):
        pareto(values, maximize=[True, False])
