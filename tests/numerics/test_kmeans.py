"""One-dimensional k-means against brute force, and its own promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer.numerics import Density, Linear, Random, kmeans

STARTS = [Linear(), Density(), Random(seed=3)]


def brute_force(values: torch.Tensor, centroids: torch.Tensor, steps: int = 500) -> torch.Tensor:
    """Lloyd's algorithm with all distances written out; empty clusters stay."""
    for _ in range(steps):
        nearest = (values[:, None] - centroids).abs().argmin(1)
        moved = torch.stack(
            [
                values[nearest == k].mean() if bool((nearest == k).any()) else centroids[k]
                for k in range(len(centroids))
            ]
        )
        if torch.equal(moved, centroids):
            break
        centroids = moved
    return centroids


@pytest.mark.parametrize("start", STARTS, ids=repr)
@pytest.mark.parametrize("count", [2, 5, 16])
def test_equals_lloyd_with_all_distances(start, count):
    values = torch.rand(
        400, generator=torch.Generator().manual_seed(count), dtype=torch.float64
    )  # no cluster runs empty
    _, centroids = kmeans(values, count, start)
    expected = brute_force(values, start.centroids(values.sort().values, count))
    nearest = (values[:, None] - expected).abs().argmin(1)
    torch.testing.assert_close(centroids, expected[nearest.unique()])


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=60),
    st.integers(1, 20),
    st.sampled_from(STARTS),
)
@settings(max_examples=200, deadline=None)
def test_every_centroid_is_used_and_every_value_has_its_nearest(values, count, start):
    values = torch.tensor(values)
    assignment, centroids = kmeans(values, count, start)
    assert 1 <= len(centroids) <= count
    assert assignment.unique().tolist() == list(range(len(centroids)))
    assert bool((centroids[1:] > centroids[:-1]).all())
    distance = (values[:, None].double() - centroids.double()).abs()
    chosen = distance.gather(1, assignment[:, None])[:, 0]
    torch.testing.assert_close(chosen, distance.min(1).values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("start", [Linear(), Density()], ids=repr)
def test_no_cluster_is_wasted_on_a_gap(start):
    """A pruned layer: nothing around zero. All centroids are used all the same, and the error is near the best."""
    values = torch.randn(4000, generator=torch.Generator().manual_seed(1))
    values = values[values.abs() > 1.5]
    assignment, centroids = kmeans(values, 8, start)
    assert len(centroids) == 8
    error = (values - centroids[assignment]).square().mean()
    best = min(
        (values - c[a]).square().mean() for a, c in (kmeans(values, 8, Random(seed=s)) for s in range(20))
    )
    assert error <= 1.5 * best


def test_few_distinct_values_are_kept_exactly():
    values = torch.tensor([0.5, -1.0, 0.5, 2.0])
    assignment, centroids = kmeans(values, 8, Linear())
    assert torch.equal(centroids[assignment], values)


def test_the_same_seed_gives_the_same_centroids():
    values = torch.randn(1000)
    first, second = (kmeans(values, 16, Random(seed=5))[1] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, kmeans(values, 16, Random(seed=6))[1])


@pytest.mark.parametrize("bad", [torch.zeros(0), torch.zeros(2, 2)], ids=["empty", "matrix"])
def test_what_is_no_vector_is_refused(bad):
    with pytest.raises(ValueError, match="non-empty vector"):
        kmeans(bad, 4, Linear())
