"""Metrics: right on known values, an error where outputs and targets do not fit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer import metrics
from gossamer.errors import TaskError

SCORES = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4], [0.2, 0.5, 0.3]])
LABELS = torch.tensor([1, 0, 1, 2])


@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "value"),
    [
        (metrics.accuracy, SCORES, LABELS, 0.5),
        (metrics.accuracy, SCORES.half(), LABELS.int(), 0.5),
        (metrics.accuracy, SCORES, torch.eye(3)[LABELS], 0.5),
        (metrics.accuracy, SCORES.T[None], torch.tensor([[1, 0, 1, 2]]), 0.5),
        (metrics.error, SCORES, LABELS, 0.5),
        (metrics.TopK(1), SCORES, LABELS, 0.5),
        (metrics.TopK(2), SCORES, LABELS, 0.75),
        (metrics.TopK(3), SCORES, LABELS, 1.0),
        (metrics.top5, torch.arange(20.0).view(2, 10), torch.tensor([5, 4]), 0.5),
        (metrics.binary_accuracy, torch.tensor([-1.0, 2.0, 3.0]), torch.tensor([0, 1, 0]), 2 / 3),
        (metrics.mean_squared_error, torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]), 2.0),
        (metrics.mean_absolute_error, torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]), 1.0),
    ],
)
def test_known_values(metric, outputs, targets, value) -> None:
    result = metric(outputs, targets)
    assert type(result) is float
    assert result == pytest.approx(value)


@given(st.integers(1, 50), st.integers(2, 9), st.integers(0, 2**32))
def test_they_agree_with_each_other(examples, classes, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.rand(examples, classes, generator=generator, dtype=torch.float64)
    targets = torch.randint(classes, (examples,), generator=generator)
    right = metrics.accuracy(outputs, targets)
    assert right == sum(int(o.argmax() == t) for o, t in zip(outputs, targets, strict=True)) / examples
    assert metrics.error(outputs, targets) == pytest.approx(1 - right)
    tops = [metrics.TopK(k)(outputs, targets) for k in range(1, classes + 1)]
    assert tops[0] == right
    assert tops == sorted(tops)
    assert tops[-1] == 1.0


@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "message"),
    [
        (metrics.accuracy, SCORES, LABELS[:3], r"\[4, 3\] and targets \[3\] do not fit"),
        (metrics.accuracy, SCORES[:, 0], LABELS, "do not fit"),
        (metrics.accuracy, SCORES, LABELS[:, None], "do not fit"),
        (metrics.accuracy, SCORES, LABELS.float(), r"not class indices; convert them with \.long\(\)"),
        (metrics.accuracy, (SCORES,), LABELS, r"outputs are tuple of 1 .*outputs\[0\]"),
        (metrics.accuracy, SCORES, [1, 2], "targets are list of 2"),
        (metrics.accuracy, SCORES / 0 * 0, LABELS, "outputs hold NaN"),
        (metrics.TopK(4), SCORES, LABELS, "3 classes; choose k"),
        (metrics.TopK(0), SCORES, LABELS, "3 classes; choose k"),
        (metrics.mean_squared_error, SCORES, SCORES[:, :1], "would be broadcast"),
        (metrics.mean_absolute_error, SCORES, SCORES[0], "would be broadcast"),
        (metrics.binary_accuracy, SCORES[:, :1], LABELS, "would be broadcast"),
    ],
)
def test_what_does_not_fit_is_an_error(metric, outputs, targets, message) -> None:
    with pytest.raises(TaskError, match=message):
        metric(outputs, targets)


def test_names() -> None:
    assert metrics.name(metrics.accuracy) == "accuracy"
    assert metrics.name(metrics.TopK(5)) == "TopK(k=5)"


def test_titles():
    assert metrics.title(metrics.error) == "error rate"
    assert metrics.title(metrics.mean_squared_error) == "mean squared error"
    assert metrics.title(metrics.TopK(5)) == "TopK(k=5)"
