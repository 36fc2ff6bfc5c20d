"""Finetune: what trains, what stays, what is refused."""

import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_tasks import (
    FEATURES,
    batches,
    compressed_graph,
    data,
    graph,
    kept,
    loader_task,
    same_bytes,
    same_state,
    task,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gossamer.errors import GraphError, RecipeError, TaskError
from gossamer.graph import original, record, trace
from gossamer.metrics import accuracy, mean_squared_error
from gossamer.task import Task, evaluate, evaluate_loss
from gossamer.train import (
    L1,
    L2,
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    EarlyStopping,
    Finetune,
    history,
    showing_progress,
)

PLAN = Finetune(epochs=3, optimizer=Adam(lr=0.01))


def test_it_learns() -> None:
    network = graph()
    trained = Finetune(epochs=30, optimizer=Adam(lr=0.02))(network, task())
    assert evaluate_loss(trained, task()) < 0.5 * evaluate_loss(network, task())
    assert evaluate(trained, task()) > 0.9


@pytest.mark.parametrize("optimizer", [SGD(nesterov=True), Adam(), AdamW()], ids=lambda o: type(o).__name__)
def test_the_input_is_not_mutated_and_same_seed_gives_same_bytes(optimizer) -> None:
    network = compressed_graph()
    before = copy.deepcopy(network)
    plan = Finetune(epochs=2, optimizer=optimizer, penalties=(L1(1e-4), L2(1e-4)), clip=0.5)
    first, second = plan(network, task()), plan(network, task())
    assert same_state(network, before)
    assert same_state(first, second)
    assert not same_state(first, network)
    assert all(p.grad is None for p in (*network.parameters(), *first.parameters()))


@pytest.mark.parametrize("generator", [None, torch.Generator()], ids=["global", "own"])
def test_the_seed_decides_the_order_of_the_data_and_the_augmentation(generator) -> None:
    first, second = (PLAN(graph(), loader_task(generator=generator)) for _ in range(2))
    other = Finetune(epochs=3, optimizer=Adam(lr=0.01), seed=1)(graph(), loader_task(generator=generator))
    assert same_state(first, second)
    assert not same_state(first, other)


def test_the_state_of_a_loaders_own_generator_decides_nothing() -> None:
    one, two = (loader_task(generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert same_state(PLAN(graph(), one), PLAN(graph(), two))


def test_zero_epochs_are_the_identity_and_say_so() -> None:
    network = graph()
    with record() as notes:
        result = Finetune(epochs=0)(network, Task())
    assert result is not network
    assert same_state(result, network)
    assert [n.subject for n in notes] == ["Finetune"]


def test_a_learning_rate_of_zero_changes_no_parameter() -> None:
    network = compressed_graph()
    result = Finetune(epochs=2, optimizer=SGD(lr=0.0, momentum=0.0))(network, task())
    for (name, before), after in zip(network.named_parameters(), result.parameters(), strict=True):
        assert same_bytes(before.detach(), after.detach()), name


def test_the_callers_random_numbers_are_not_disturbed() -> None:
    generator = torch.Generator().manual_seed(5)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    states = torch.get_rng_state(), numpy_state(), random.getstate(), generator.get_state()
    PLAN(graph_without_seeding(), loader_task(generator=generator))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert numpy_state() == states[1]
    assert random.getstate() == states[2]
    assert torch.equal(generator.get_state(), states[3])


def numpy_state():
    return np.random.get_state()[1].tolist()


def graph_without_seeding():
    with torch.random.fork_rng():
        return graph()


def test_masks_hold_and_centroids_move() -> None:
    network = compressed_graph()
    result = PLAN(network, task())
    assert bool((result.fc1.weight[~kept()] == 0).all())
    assert not torch.equal(result.fc1.weight, network.fc1.weight)
    assert len(result.fc2.weight.unique()) == 4
    assert not torch.equal(result.fc2.weight, network.fc2.weight)


def test_a_weight_that_no_gradient_reaches_is_left_alone() -> None:
    network = compressed_graph()
    result = Finetune(epochs=2, optimizer=SGD(lr=0.1, weight_decay=0.1))(network, task())
    assert same_bytes(original(network, "fc2.weight").detach(), original(result, "fc2.weight").detach())
    assert original(result, "fc2.weight").requires_grad


def test_gradients_of_a_codebook_are_summed_over_its_weights() -> None:
    """Deep Compression, eq. 3: a step of descent moves a centroid by the sum of its weights' gradients."""
    network = compressed_graph(dropout=0.0)
    (inputs, targets), lr = data(), 0.1
    dense = graph(dropout=0.0).train()
    with torch.no_grad():
        dense.fc1.weight.copy_(network.fc1.weight)
        dense.fc2.weight.copy_(network.fc2.weight)
    F.cross_entropy(dense(inputs), targets).backward()
    transform = network.fc2.parametrizations.weight[0]
    expected = transform.centroids.detach().clone()
    for index in range(4):
        expected[index] -= lr * dense.fc2.weight.grad[transform.assignment == index + 1].sum()
    plan = Finetune(epochs=1, optimizer=SGD(lr=lr, momentum=0.0), schedule=Constant())
    result = plan(network, Task(train=[(inputs, targets)], loss=F.cross_entropy))
    torch.testing.assert_close(result.fc2.parametrizations.weight[0].centroids.detach(), expected)


def test_frozen_parameters_stay_and_the_rest_trains() -> None:
    network = graph()
    network.fc1.weight.requires_grad_(False)
    result = PLAN(network, task())
    assert same_bytes(result.fc1.weight.detach(), network.fc1.weight.detach())
    assert not result.fc1.weight.requires_grad
    assert not torch.equal(result.fc3.weight, network.fc3.weight)


def test_nothing_to_train_is_an_error_with_names() -> None:
    network = graph().requires_grad_(False)
    with pytest.raises(RecipeError, match=r"nothing to train.*fc1\.weight.*requires_grad_\(True\)"):
        PLAN(network, task())


@pytest.mark.parametrize("mode", [True, False])
def test_batch_norm_trains_and_the_mode_is_restored(mode) -> None:
    network = graph().train(mode)
    network.norm.eval()
    result = PLAN(network, task())
    assert result.training is mode
    assert network.training is mode
    assert result.norm.training is network.norm.training
    assert not torch.equal(result.norm.running_mean, network.norm.running_mean)
    assert int(result.norm.num_batches_tracked) == int(network.norm.num_batches_tracked) + 3 * 6


def test_it_equals_a_plain_loop() -> None:
    """The same steps written out with torch alone: penalty, clipping, cosine and all."""
    plan = Finetune(
        epochs=2,
        optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=1e-3),
        schedule=Cosine(final=0.1),
        penalties=(L2(1e-3), L1(1e-4)),
        clip=0.7,
    )
    trained = plan(graph(dropout=0.0), task())
    twin = graph(dropout=0.0).train()
    optimizer = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    for step, (inputs, targets) in enumerate(batches() * 2):
        optimizer.param_groups[0]["lr"] = 0.1 * (0.1 + 0.9 * (1 + np.cos(np.pi * (step + 0.5) / 12)) / 2)
        optimizer.zero_grad()
        loss = F.cross_entropy(twin(inputs), targets)
        for layer in (twin.fc1, twin.fc2, twin.fc3):
            loss = loss + 0.5e-3 * layer.weight.square().sum() + 1e-4 * layer.weight.abs().sum()
        loss.backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.7)
        optimizer.step()
    for (name, ours), theirs in zip(trained.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=name)


def test_a_penalty_shrinks_the_effective_weights() -> None:
    network = compressed_graph()
    plain = PLAN(network, task())
    shrunk = Finetune(epochs=3, optimizer=Adam(lr=0.01), penalties=(L1(0.05),))(network, task())
    assert shrunk.fc1.weight.abs().sum() < 0.9 * plain.fc1.weight.abs().sum()
    masked_away = original(shrunk, "fc1.weight")[~kept()]
    assert same_bytes(masked_away.detach(), original(network, "fc1.weight")[~kept()].detach())


class Wandering(nn.Module):
    """Its one parameter goes the same way at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.scale


def wandering_task() -> Task:
    """The metric is best where the parameter is 0.3; the loss pushes it up by one learning rate a step."""
    batch = [(torch.zeros(1, 1), torch.full((1, 1), 0.3))]
    return Task(
        train=batch,
        valid=batch,
        loss=lambda outputs, targets: -outputs.mean(),
        metric=mean_squared_error,
        maximize=False,
    )


@pytest.mark.parametrize(
    ("restore", "epochs", "trained", "value"),
    [(True, 20, 5, 0.3), (False, 20, 5, 0.5), (True, 4, 4, 0.3)],
    ids=["restored", "kept", "not stopped, restored"],
)
def test_early_stopping(restore, epochs, trained, value) -> None:
    network = trace(Wandering(), torch.zeros(1, 1))
    plan = Finetune(
        epochs=epochs,
        optimizer=SGD(lr=0.1, momentum=0.0),
        schedule=Constant(),
        early_stopping=EarlyStopping(patience=2, restore_best=restore),
    )
    with history() as curve, record() as notes:
        result = plan(network, wandering_task())
    assert len(curve) == trained
    assert float(result.scale.detach()) == pytest.approx(value)
    assert "after epoch 3" in notes[-1].message


def test_small_improvements_do_not_count() -> None:
    plan = Finetune(
        epochs=20,
        optimizer=SGD(lr=0.001, momentum=0.0),
        schedule=Constant(),
        early_stopping=EarlyStopping(patience=2, min_delta=0.01),
    )
    with history() as curve:
        plan(trace(Wandering(), torch.zeros(1, 1)), wandering_task())
    assert len(curve) == 3


def test_early_stopping_needs_a_metric() -> None:
    unwatched = Task(train=batches(), loss=F.cross_entropy)
    with pytest.raises(TaskError, match="the Task has no valid; give it one"):
        Finetune(epochs=1, early_stopping=EarlyStopping())(graph(), unwatched)


@pytest.mark.parametrize(
    ("incomplete", "message"),
    [
        (Task(loss=F.cross_entropy), r"no train; give it one: Task\(\.\.\., train=loader\)"),
        (Task(train=batches()), r"no loss; give it one: Task\(\.\.\., loss="),
    ],
)
def test_what_the_task_lacks_is_named_before_anything_trains(incomplete, message) -> None:
    for attempt in (PLAN.check, PLAN):
        with pytest.raises(TaskError, match=message):
            attempt(graph(), incomplete)
    Finetune(epochs=0).check(graph(), incomplete)


def test_a_loss_without_a_gradient_is_an_error() -> None:
    detached = Task(train=batches(), loss=lambda o, t: F.cross_entropy(o.detach(), t))
    with pytest.raises(TaskError, match=r"does not depend on the weights.*\.detach\(\)"):
        PLAN(graph(), detached)


def test_it_trains_where_gradients_are_off() -> None:
    with torch.no_grad():
        trained = PLAN(graph(), task())
    assert same_state(trained, PLAN(graph(), task()))


def test_history_tells_every_epoch() -> None:
    with history() as curve:
        result = PLAN(graph(), task())
    assert [epoch.number for epoch in curve] == [1, 2, 3]
    assert curve[-1].metric == evaluate(result, task())
    assert curve[-1].loss < curve[0].loss
    rates = [epoch.learning_rate for epoch in curve]
    assert rates == sorted(rates, reverse=True)
    assert all(epoch.seconds > 0 for epoch in curve)


def test_the_recorded_loss_is_the_mean_over_examples() -> None:
    """Batches of 16 and one of 8: with a learning rate of 0 the loss is that of all examples."""
    network = trace(nn.Linear(FEATURES, 4), torch.randn(2, FEATURES))
    uneven = Task(train=batches(16, 88), loss=F.cross_entropy)
    with history() as curve:
        Finetune(epochs=1, optimizer=SGD(lr=0.0))(network, uneven)
    inputs, targets = data(88)
    assert curve[0].loss == pytest.approx(F.cross_entropy(network(inputs), targets).item(), rel=1e-5)
    assert curve[0].metric is None


@pytest.mark.parametrize("shape", ["tuple", "dict", "list"])
def test_inputs_of_every_shape(shape) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(FEATURES, 4)

        def forward(self, a, b):
            return self.fc(a) - b.mean(1, keepdim=True)

    wrap = {"tuple": lambda x: (x, x), "list": lambda x: [x, x], "dict": lambda x: {"a": x, "b": x}}[shape]
    pairs = [(wrap(x), y) for x, y in batches()]
    network = trace(Two(), (torch.randn(4, FEATURES), torch.randn(4, FEATURES)))
    a_task = Task(train=pairs, valid=pairs, loss=F.cross_entropy, metric=accuracy)
    trained = Finetune(epochs=5, optimizer=Adam(0.05))(network, a_task)
    assert evaluate(trained, a_task) > evaluate(network, a_task)


def test_a_loader_without_a_length_is_counted() -> None:
    class Streamed:
        def __iter__(self):
            return iter(batches())

    with record() as notes:
        streamed = PLAN(graph(), Task(train=Streamed(), loss=F.cross_entropy))
    assert any("counted 6 batches" in entry.message for entry in notes)
    assert same_state(streamed, PLAN(graph(), Task(train=batches(), loss=F.cross_entropy)))


def test_a_loader_that_gives_nothing_is_an_error() -> None:
    nothing = DataLoader(TensorDataset(*data(3)), 8, drop_last=True)
    with pytest.raises(TaskError, match="gave no batch; the dataset is empty"):
        PLAN(graph(), Task(train=nothing, loss=F.cross_entropy))


def test_workers_that_remember_are_noted() -> None:
    remembering = DataLoader(TensorDataset(*data()), 16, num_workers=1, persistent_workers=True)
    with record() as notes:
        Finetune(epochs=1)(graph(), Task(train=remembering, loss=F.cross_entropy))
    assert "persistent_workers" in notes[0].message


def test_divergence_is_an_error_with_epoch_step_and_learning_rate() -> None:
    calls = []

    def loss(outputs, targets):
        calls.append(0)
        return F.cross_entropy(outputs, targets) * (float("inf") if len(calls) == 9 else 1.0)

    plan = Finetune(epochs=3, optimizer=SGD(lr=0.25), schedule=Constant())
    with pytest.raises(
        TaskError, match=r"inf in epoch 2, step 3, at learning rate 0\.25; lower the learning rate"
    ):
        plan(graph(), Task(train=batches(), loss=loss))


def test_broken_inputs_are_told_from_divergence() -> None:
    broken = [*batches()[:2], (torch.full((4, FEATURES), float("nan")), torch.zeros(4, dtype=torch.long))]
    with pytest.raises(TaskError, match=r"step 3.*inputs of this batch hold NaN.*repair the loader"):
        PLAN(graph(), Task(train=broken, loss=F.cross_entropy))


def test_broken_weights_are_named() -> None:
    network = graph()
    with torch.no_grad():
        network.fc2.weight[0, 0] = float("nan")
    with pytest.raises(GraphError, match=r"fc2\.weight holds NaN"):
        PLAN(network, task())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Finetune(epochs=-1), "epochs=-1"),
        (lambda: Finetune(epochs=1.5), "epochs=1.5"),
        (lambda: Finetune(epochs=1, seed=-1), "seed=-1"),
        (lambda: Finetune(epochs=1, clip=0.0), "clip=0.0"),
        (lambda: SGD(lr=-1.0), "lr must be a finite"),
        (lambda: SGD(lr="1e-3"), "lr must be a finite"),
        (lambda: Adam(lr=float("nan")), "lr must be a finite"),
        (lambda: AdamW(betas=(0.9, 1.0)), "betas must be below 1"),
        (lambda: SGD(momentum=0.0, nesterov=True), "Nesterov"),
        (lambda: L1(-0.1), "strength"),
        (lambda: L2(float("inf")), "strength"),
        (lambda: EarlyStopping(patience=0), "patience"),
        (lambda: EarlyStopping(min_delta=-1.0), "min_delta"),
    ],
)
def test_settings_that_make_no_sense(make, message) -> None:
    with pytest.raises(RecipeError, match=message):
        make()


def test_progress_is_shown_when_asked_for_and_only_then(capsys) -> None:
    PLAN(graph(), task())
    assert capsys.readouterr().err == ""
    with showing_progress():
        PLAN(graph(), task())
    shown = capsys.readouterr().err
    assert "epoch 3/3" in shown
    assert "metric" in shown
