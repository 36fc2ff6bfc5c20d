"""Task: what is measured, and what is refused."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from gossamer.errors import TaskError
from gossamer.metrics import accuracy, error, mean_squared_error
from gossamer.task import (
    Task,
    evaluate,
    evaluate_loss,
    evaluate_with,
    example_inputs,
    loss_of,
    score,
    training_batches,
)

torch.manual_seed(0)
X, Y = torch.randn(50, 6), torch.randint(0, 3, (50,))
BATCHES = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 50, 16)]


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def task(**changed) -> Task:
    return Task(**{"valid": BATCHES, "loss": F.cross_entropy, "metric": accuracy, **changed})


def test_evaluate_is_the_metric_of_the_whole_set_in_eval_mode() -> None:
    net = network()
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    measured = evaluate(net, task())
    assert net.training
    assert not net[1].training
    assert net[2].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        assert measured == accuracy(net.eval()(X), Y)


def test_the_mode_is_restored_after_an_error() -> None:
    net = network()
    with pytest.raises(ZeroDivisionError):
        evaluate(net, task(metric=lambda outputs, targets: 1 / 0))
    assert net.training


def test_evaluation_keeps_no_gradient() -> None:
    seen = []
    evaluate(network(), task(metric=lambda outputs, targets: seen.append(outputs.requires_grad) or 0.0))
    assert seen == [False]


def test_the_loss_is_the_mean_per_example() -> None:
    net = network()
    expected = F.cross_entropy(net.eval()(X), Y).item()
    assert evaluate_loss(net.train(), task()) == pytest.approx(expected, rel=1e-6)
    assert net.training


def test_a_function_of_arrays_is_measured_as_a_network_is() -> None:
    net = network().eval()
    weights = [p.detach().double().numpy() for p in (net[0].weight, net[0].bias, net[3].weight, net[3].bias)]

    def run(x: np.ndarray) -> np.ndarray:
        assert type(x) is np.ndarray
        hidden = (x @ weights[0].T + weights[1]) / np.sqrt(1 + net[1].eps)
        result = hidden @ weights[2].T + weights[3]
        result.setflags(write=False)
        return result

    assert evaluate_with(run, task()) == evaluate(net, task())
    assert score(lambda x: run(x.numpy()), task()) == evaluate(net, task())


def test_a_function_that_reuses_its_output_is_measured_right() -> None:
    """A runtime may hand out the same memory every time."""
    arena = np.zeros((16, 3), dtype=np.float32)

    def run(x: np.ndarray) -> np.ndarray:
        arena[: len(x)] = x[:, :3]
        return arena[: len(x)]

    assert evaluate_with(run, task()) == accuracy(X[:, :3], Y)


def test_other_batches_than_the_validation_set() -> None:
    assert score(lambda x: x[:, :3], task(), BATCHES[:1]) == accuracy(BATCHES[0][0][:, :3], BATCHES[0][1])


SHAPES = {
    "tensor": (lambda x: x, lambda x: x[:, :3]),
    "tuple": (lambda x: (x, -x), lambda x, y: x[:, :3]),
    "list": (lambda x: [x, -x], lambda x, y: x[:, :3]),
    "dict": (lambda x: {"y": -x, "x": x}, lambda x, y: x[:, :3]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_inputs_of_every_shape(shape) -> None:
    wrap, run = SHAPES[shape]
    batches = [(wrap(x), y) for x, y in BATCHES]
    assert evaluate_with(run, task(valid=batches)) == accuracy(X[:, :3], Y)


@pytest.mark.parametrize(
    "wrap",
    [lambda y: (y, None), lambda y: {"logits": y}, lambda y: OrderedDict(a=(y,)), lambda y: [y, [y]]],
)
def test_outputs_of_every_shape_are_concatenated(wrap) -> None:
    class Wrapped(nn.Module):
        def forward(self, x):
            return wrap(x)

    found = []
    evaluate(Wrapped(), task(metric=lambda outputs, targets: found.append((outputs, targets)) or 0.0))
    outputs, targets = found[0]
    while not isinstance(outputs, torch.Tensor):
        outputs = next(iter(outputs.values())) if isinstance(outputs, dict) else outputs[0]
    assert torch.equal(outputs, X)
    assert torch.equal(targets, Y)


class Nothing(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Task(train=(b for b in BATCHES)), r"runs only once.*list\(train\)"),
        (lambda: Task(valid=iter(BATCHES)), r"runs only once.*list\(valid\)"),
        (lambda: Task(calib=zip(X, strict=True)), "runs only once"),
        (lambda: Task(train=[]), r"train=\[\]\): empty"),
        (lambda: Task(train=5), "train=int 5.*not iterable"),
        (lambda: Task(train=X), "a tensor is not a loader"),
        (lambda: Task(loss=3), "not callable"),
        (lambda: Task(metric="accuracy"), "not callable"),
        (lambda: Task(metric=error), "smaller is better.*maximize=False"),
        (lambda: Task(metric=mean_squared_error), "smaller is better.*maximize=False"),
    ],
)
def test_what_can_be_seen_at_once_is_refused_at_once(make, message) -> None:
    with pytest.raises(TaskError, match=message):
        make()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"valid": None}, "has no valid"),
        ({"metric": None}, "no metric; give it one"),
        ({"valid": DataLoader(TensorDataset(X[:3], Y[:3]), 8, drop_last=True)}, "gave no batch"),
        ({"valid": DataLoader(Nothing())}, "gave no batch"),
        ({"valid": [X]}, r"must be a pair \(inputs, targets\), and one is Tensor float32 \[50, 6\]"),
        ({"valid": [(X, X, Y)]}, r"must be a pair.*tuple of 3"),
        ({"valid": [{"x": X, "y": Y}]}, r"must be a pair.*dict with keys \['x', 'y'\]"),
        (
            {"metric": lambda o, t: (o.argmax(1) == t).float().mean()},
            r"returned Tensor float32 \[\]; call \.item\(\)",
        ),
        (
            {"metric": lambda o, t: (o.argmax(1) == t).float()},
            r"reduce it to one number: \.mean\(\)\.item\(\)",
        ),
        ({"metric": lambda o, t: float("nan")}, "returned NaN"),
        ({"metric": lambda o, t: "good"}, "must return a float, and returned str 'good'"),
        ({"metric": lambda o, t: None}, "must return a float, and returned NoneType None"),
        ({"metric": lambda o, t: True}, "must return a float, and returned bool True"),
        ({"valid": [(X, Y), (torch.randn(4, 7), Y[:4])]}, r"different shapes.*\[6\] and \[7\]"),
        ({"valid": [(X, "label")]}, "the targets cannot be concatenated.*str 'label'"),
    ],
)
def test_what_cannot_be_measured_is_an_error(changed, message) -> None:
    with pytest.raises(TaskError, match=message):
        score(lambda x: x, task(**changed))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "no loss; give it one"),
        (
            lambda o, t: F.cross_entropy(o, t, reduction="none"),
            r"Tensor float32 \[50\]; reduce it.*loss\.mean\(\)",
        ),
        (lambda o, t: 0.5, "must return a scalar floating-point Tensor, and returned float 0.5"),
        (lambda o, t: (o.argmax(1) == t).sum(), "returned Tensor int64"),
    ],
)
def test_a_loss_that_cannot_be_used(loss, message) -> None:
    with pytest.raises(TaskError, match=message):
        loss_of(task(loss=loss), X[:, :3], Y)


def test_a_loss_of_nan_is_an_error() -> None:
    with pytest.raises(TaskError, match="returned NaN on a validation batch"):
        evaluate_loss(network(), task(loss=lambda o, t: o.mean() * float("nan")))


def test_an_iterable_that_runs_once_is_found_at_its_second_run() -> None:
    class Once:
        def __init__(self):
            self.left = iter(BATCHES)

        def __iter__(self):
            return self.left

    once = task(train=Once())
    assert len(list(training_batches(once))) == 4
    with pytest.raises(TaskError, match=r"gave no batch.*runs only once"):
        list(training_batches(once))


def test_example_inputs() -> None:
    assert example_inputs(task(calib=[X[:2]])) is not None
    assert torch.equal(example_inputs(task(calib=[X[:2]])), X[:2])
    assert torch.equal(example_inputs(task(train=BATCHES[1:])), BATCHES[1][0])
    assert torch.equal(example_inputs(task()), BATCHES[0][0])
    with pytest.raises(TaskError, match="has no data; give it inputs"):
        example_inputs(Task())
    with pytest.raises(TaskError, match="gave no inputs"):
        example_inputs(Task(calib=DataLoader(Nothing())))
