"""When weights go and come back, and that a killed training does it all the same."""

import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gossamer as gs
from gossamer.errors import RecipeError
from gossamer.graph import cost, effective, original, record, transforms
from gossamer.prune import (
    SET,
    SNIP,
    Blocks,
    Chance,
    EarlyBird,
    ErdosRenyi,
    Global,
    Gradual,
    Lottery,
    Magnitude,
    Mask,
    OpenMask,
    Reinitialize,
    RigL,
    Scratch,
    Slimming,
    Surgery,
    ToEarly,
    ToRandom,
)
from gossamer.recipe import Geometric
from gossamer.train import SGD, Adam, Constant, EarlyStopping, Finetune, checkpointing, history


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 16)
        self.norm = nn.BatchNorm1d(16)
        self.fc2 = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc2(torch.relu(self.norm(self.fc1(x))))


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(4)
    return gs.trace(Net(), torch.randn(4, 10))


@pytest.fixture(scope="module")
def task():
    inputs = torch.randn(128, 10, generator=torch.Generator().manual_seed(9))
    batches = [(inputs[i : i + 16], inputs[i : i + 16, :3].argmax(1)) for i in range(0, 128, 16)]
    return gs.Task(train=batches, valid=batches, loss=F.cross_entropy, metric=gs.metrics.accuracy)


NAMES = ("fc1.weight", "fc2.weight")


def alive(graph):
    return {name: effective(graph, name) != 0 for name in NAMES}


def share(graph):
    masks = alive(graph)
    return float(torch.cat([mask.flatten() for mask in masks.values()]).double().mean())


PRUNE = gs.Prune(0.75, allocate=Global())
RANDOM = gs.Prune(0.75, by=Chance(), allocate=ErdosRenyi())
DURING = {
    "gradual": Gradual(PRUNE, every=3),
    "surgery": Surgery(PRUNE, every=2),
    "set": SET(RANDOM, every=3),
    "rigl": RigL(RANDOM, every=3),
}


def train(*during, epochs=4, **settings):
    return Finetune(epochs, Adam(lr=0.01), during=during, **settings)


@pytest.mark.parametrize("name", DURING)
def test_what_is_asked_for_is_left_under_plain_masks(graph, task, name):
    trained = train(DURING[name])(graph, task)
    assert share(trained) == pytest.approx(0.25, abs=0.01)
    for weight in NAMES:
        assert [type(step) for step in transforms(trained, weight)] == [Mask]
    assert gs.task.evaluate(trained, task) > gs.task.evaluate(graph, task)


@pytest.mark.parametrize("name", DURING)
@pytest.mark.parametrize("at", [5, 13, 27])
def test_a_training_that_breaks_off_goes_on_with_the_same_bytes(graph, task, name, at, tmp_path):
    calls = []

    def loss(outputs, targets):
        calls.append(0)
        if len(calls) == at:
            raise InterruptedError
        return F.cross_entropy(outputs, targets)

    plan = train(DURING[name])
    with pytest.raises(InterruptedError), checkpointing(tmp_path, "a", steps=2):
        plan(graph, dataclasses.replace(task, loss=loss))
    with checkpointing(tmp_path, "a", steps=2):
        resumed = plan(graph, task).state_dict()
    whole = plan(graph, task).state_dict()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


class Watch(gs.train.During):
    """Takes down the masks after every step."""

    def __init__(self, kinds=NAMES):
        self.seen = []

    def after_update(self, moment):
        self.seen.append({name: transforms(moment.network, name)[-1].kept.clone() for name in NAMES})


def changes(seen):
    """By step, how many weights went and how many came."""
    pairs = itertools.pairwise(seen)
    return [
        tuple(sum(int((a[n] & ~b[n]).sum()) for n in NAMES) for a, b in ((old, new), (new, old)))
        for old, new in pairs
    ]


def test_gradual_follows_the_cubic_and_takes_nothing_back(graph, task):
    watch = Watch()
    Finetune(4, SGD(lr=0.01), during=(Gradual(PRUNE, every=4, start=0.25, stop=0.75), watch))(graph, task)
    kept = [sum(int(masks[n].sum()) for n in NAMES) for masks in watch.seen]
    for step, count in enumerate(kept, start=1):
        last = min(step - step % 4, 24)
        progress = max(0.0, (last - 8) / 16)
        assert count == 208 - round(208 * 0.75 * (1 - (1 - progress) ** 3))
    assert all(came == 0 for _, came in changes(watch.seen))


def test_surgery_lets_weights_come_back(graph, task):
    watch = Watch()
    plan = Finetune(6, Adam(lr=0.03), during=(Surgery(PRUNE, every=1, margin=0.05), watch))
    plan(graph, task)
    moved = changes(watch.seen)
    assert sum(came for _, came in moved) > 0
    assert all(move == (0, 0) for move in moved[36:])  # nothing after three quarters of 48 steps


@pytest.mark.parametrize("kind", [SET, RigL])
def test_regrowth_moves_as_many_as_it_says(graph, task, kind):
    watch = Watch()
    Finetune(4, SGD(lr=0.05), during=(kind(RANDOM, every=8, fraction=0.4, stop=1.0), watch))(graph, task)
    sizes = {tuple(int(masks[n].sum()) for n in NAMES) for masks in watch.seen}
    assert len(sizes) == 1
    went = [a for a, _ in changes(watch.seen)]
    assert [i + 2 for i, count in enumerate(went) if count] == [8, 16, 24]
    assert all(gone == came for gone, came in changes(watch.seen))


def test_rigl_grows_where_the_gradient_is_largest(graph, task):
    prune = gs.Prune(0.5, by=Chance(), overrides={"fc2": 0})

    class Before(gs.train.During):
        def after_gradients(self, moment):
            if moment.step == 2:
                self.gradient = original(moment.network, "fc1.weight").grad.abs().clone()
                self.kept = transforms(moment.network, "fc1.weight")[-1].kept.clone()

    class After(gs.train.During):
        def after_gradients(self, moment):
            if moment.step == 2:
                self.kept = transforms(moment.network, "fc1.weight")[-1].kept.clone()
                self.grown = original(moment.network, "fc1.weight").detach().clone()

    before, after = Before(), After()
    Finetune(1, SGD(lr=0.05), during=(before, RigL(prune, every=2, stop=1.0), after))(graph, task)
    grown = after.kept & ~before.kept
    assert int(grown.sum()) == int(0.15 * (1 + 0.70710678) * 80) and bool((after.grown[grown] == 0).all())
    out = ~before.kept & ~after.kept
    assert before.gradient[grown].min() >= before.gradient[out].max()


def test_an_open_mask_passes_every_gradient():
    weight = torch.randn(4, 5, requires_grad=True)
    mask = OpenMask(torch.arange(20).view(4, 5) % 2 == 0)
    masked = mask(weight)
    assert torch.equal(masked, Mask(mask.kept)(weight))
    masked.sum().backward()
    assert bool((weight.grad == 1).all())


def test_a_lottery_ticket_starts_where_the_network_did(graph, task):
    find = Lottery(gs.Prune(0.6, allocate=Global()), train(epochs=2), rounds=2, train_ticket=False)
    ticket = find(graph, task)
    masks = alive(ticket)
    assert share(ticket) == pytest.approx(0.4, abs=0.01)
    for name in NAMES:
        assert torch.equal(original(ticket, name), original(graph, name))
    control = dataclasses.replace(find, rewind=ToRandom())(graph, task)
    for name in NAMES:
        assert torch.equal(alive(control)[name], masks[name])
        assert not torch.equal(original(control, name), original(graph, name))
    early = dataclasses.replace(find, rewind=ToEarly(1))(graph, task)
    first = train(epochs=1)(graph, task)
    for name in NAMES:
        assert torch.equal(original(early, name), original(first, name))


def test_a_lottery_trains_once_a_round_and_once_more(graph, task):
    with history() as epochs:
        Lottery(gs.Prune(0.5), train(epochs=1), rounds=3)(graph, task)
    assert len(epochs) == 4
    kept = [1 - 0.5 * Geometric(0.5).strength(r / 3) for r in (1, 2, 3)]
    assert kept == pytest.approx([0.5 ** (r / 3) for r in (1, 2, 3)])


def test_an_early_bird_is_drawn_when_its_mask_rests(graph, task):
    slow = Finetune(9, SGD(lr=1e-4), Constant())
    with record() as notes, history() as epochs:
        ticket = EarlyBird(gs.Prune(0.5), slow, window=3)(graph, task)
    assert len(epochs) == 4 and share(ticket) == pytest.approx(0.5, abs=0.01)
    assert any("drawn after 4 of 9 epochs" in note.message for note in notes)
    with record() as notes:
        EarlyBird(gs.Prune(0.5), dataclasses.replace(slow, epochs=2), window=3)(graph, task)
    assert any("not come to rest" in note.message for note in notes)


def test_reinitialize_draws_as_torch_does(graph, task):
    trained = train(epochs=2)(graph, task)
    pruned = gs.Prune(0.5)(trained, task)
    fresh, other = Reinitialize(1)(pruned, task), Reinitialize(2)(pruned, task)
    for name, inputs in (("fc1.weight", 10), ("fc2.weight", 16)):
        drawn = original(fresh, name)
        assert float(drawn.detach().abs().max()) <= inputs**-0.5 and not torch.equal(
            drawn, original(other, name)
        )
        assert torch.equal(effective(fresh, name) == 0, effective(pruned, name) == 0)
    norm = fresh.get_submodule("norm")
    assert bool((norm.weight == 1).all() and (norm.running_mean == 0).all() and (norm.running_var == 1).all())
    assert not torch.equal(fresh.get_submodule("fc1").bias, trained.get_submodule("fc1").bias)


def test_scratch_b_gets_the_arithmetic_that_pruning_saved(graph, task):
    pruned = gs.Prune(0.5)(graph, task)
    for dense_macs, expected in ((None, 2), (cost(graph).macs, 4)):
        with history() as epochs:
            scratch = Scratch(train(epochs=2), dense_macs)(pruned, task)
        assert len(epochs) == expected and share(scratch) == share(pruned)
    with pytest.raises(RecipeError, match="more than the dense one's 3"):
        Scratch(train(epochs=2), 3)(pruned, task)


def test_slimming_shrinks_the_scales(graph, task):
    free, slim = (
        Finetune(3, SGD(lr=0.05), penalties=penalties)(graph, task) for penalties in ((), (Slimming(0.02),))
    )
    small, large = (float(net.get_submodule("norm").weight.detach().abs().sum()) for net in (slim, free))
    assert small < large - 0.5
    plain = gs.trace(nn.Sequential(nn.Linear(10, 3)), torch.randn(2, 10))
    with pytest.raises(RecipeError, match="no batch norm"):
        Finetune(1, penalties=(Slimming(),))(plain, task)


def test_pruning_at_initialization_is_a_recipe(graph, task):
    network = Net()
    recipe = [gs.Prune(0.9, by=SNIP(batches=4), allocate=Global()), train(epochs=2), gs.Cluster(bits=3)]
    result = gs.compress(network, task, recipe)
    assert share(result.graph) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("kind", [Surgery, SET, RigL], ids=lambda kind: kind.__name__)
def test_groups_come_and_go_whole(graph, task, kind):
    """Blocks stay blocks at every step."""
    watch = Watch()
    prune = dataclasses.replace(
        PRUNE, granularity=Blocks(4, 2), by=Chance() if kind is not Surgery else Magnitude()
    )
    Finetune(4, Adam(lr=0.03), during=(kind(prune, every=2), watch))(graph, task)
    for masks in watch.seen:
        blocks = masks["fc1.weight"].view(4, 4, 5, 2).permute(0, 2, 1, 3).reshape(20, 8)
        assert bool((blocks.all(1) | ~blocks.any(1)).all())
    assert sum(came for _, came in changes(watch.seen)) > 0


def test_what_removes_is_not_for_the_middle_of_a_training(graph, task):
    for kind in (Gradual, Surgery, SET):
        with pytest.raises(RecipeError, match="alternate instead"):
            train(kind(gs.Prune(0.5, gs.Channels()))).check(graph, task)
    ticket = Lottery(gs.Prune(0.5, gs.Channels()), train(epochs=1), rounds=2, train_ticket=False)(graph, task)
    assert tuple(original(ticket, "fc1.weight").shape) == (8, 10)
    rows = original(graph, "fc1.weight").tolist()
    assert all(row in rows for row in original(ticket, "fc1.weight").tolist())


def test_settings_that_make_no_sense():
    for make in (
        lambda: Gradual(PRUNE, start=0.8, stop=0.5),
        lambda: Surgery(PRUNE, rise=0.9, stop=0.5),
        lambda: RigL(PRUNE, fraction=1.5),
        lambda: Lottery(PRUNE, train(), rounds=0),
        lambda: EarlyBird(PRUNE, train(), distance=0),
        lambda: Geometric(1.0),
        lambda: Finetune(2, during=(Gradual(PRUNE),), early_stopping=EarlyStopping()),
    ):
        with pytest.raises(RecipeError):
            make()
