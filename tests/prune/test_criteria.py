"""Every criterion against its formula, written out with loops and torch alone."""

import math

import pytest
import torch
import torch.nn.functional as F
from criteria_cases import (
    NAMES,
    close,
    everything,
    flat,
    gradient,
    gradient_and_hessian,
    loss_of_vector,
    weights,
)
from torch import nn

import gossamer as gs
from gossamer.errors import RecipeError, TaskError
from gossamer.graph import effective, fingerprint, record
from gossamer.prune import (
    LAMP,
    NM,
    SNIP,
    BatchNormScale,
    Blocks,
    Chance,
    Channels,
    DirectRemoval,
    Elements,
    GeometricMedian,
    Global,
    GradientTimesWeight,
    Magnitude,
    Mask,
    Movement,
    Similarity,
    SynFlow,
    Taylor,
    Wanda,
)
from gossamer.prune.criteria import sampling


def test_magnitude_of_groups(graph, task):
    matrix = effective(graph, "fc1.weight")
    for norm, expected in [
        (1.0, [sum(abs(w) for w in row) for row in matrix.tolist()]),
        (2.0, [math.sqrt(sum(w * w for w in row)) for row in matrix.tolist()]),
        (math.inf, [max(abs(w) for w in row) for row in matrix.tolist()]),
    ]:
        pooled = Magnitude(norm).pool(Magnitude(norm).elements(graph, task, NAMES)["fc1.weight"])
        close(pooled, torch.tensor(expected, dtype=torch.float64))
    with pytest.raises(RecipeError, match="1, 2 or infinity"):
        Magnitude(3)


def test_chance_is_seeded_and_even(graph, task):
    first, again, other = (Chance(seed).elements(graph, task, NAMES)["fc1.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    groups = Blocks(1, 4).groups(graph, gs.graph.layers(graph))
    assert {len(s.unique()) for s in Chance().scores(graph, task, groups).values()} == {5, 6}


def test_gradient_times_weight(net, graph, task, batches):
    products = [(g * w).abs() for g, _, w in (gradient_and_hessian(net, batch) for batch in batches)]
    close(flat(GradientTimesWeight().elements(graph, task, NAMES)), sum(products) / 2)


def test_snip(net, graph, task, batches):
    g, _, w = gradient_and_hessian(net, everything(batches))
    expected = (g * w).abs() / (g * w).abs().sum()
    close(flat(SNIP().elements(graph, task, NAMES)), expected)


def test_synflow_is_the_sum_over_paths(net, graph, task):
    net = net.float()
    first, second = net.fc1.weight.detach().double().abs(), net.fc2.weight.detach().double().abs()
    hidden = torch.tanh(first.sum(1) + net.fc1.bias.detach().double().abs())
    slope = 1 - hidden**2
    scores = SynFlow().elements(graph, task, NAMES)
    net.double()
    close(scores["fc2.weight"], second * hidden, 1e-6)
    close(scores["fc1.weight"], first * (second.sum(0) * slope).unsqueeze(1), 1e-6)


def test_movement(net, graph, task, batches):
    moved, w = 0, flat(weights(net)).clone()
    for batch in batches:
        loss, _ = loss_of_vector(net, *batch)
        g = gradient(loss, w)
        moved, w = moved - 0.1 * g * w, w - 0.1 * g
    close(flat(Movement(lr=0.1).elements(graph, task, NAMES)), moved)


def test_geometric_median(graph, task):
    rows = effective(graph, "fc1.weight").tolist()
    expected = [sum(math.dist(a, b) for b in rows) for a in rows]
    found = GeometricMedian().elements(graph, task, NAMES)["fc1.weight"]
    close(found.sum(1), torch.tensor(expected, dtype=torch.float64))


def test_lamp(graph, task):
    values = effective(graph, "fc1.weight").flatten().tolist()
    expected = [v * v / sum(u * u for u in values if abs(u) >= abs(v)) for v in values]
    found = LAMP().elements(graph, task, NAMES)["fc1.weight"].flatten()
    close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("loss", [False, True])
def test_direct_removal(net, graph, task, batches, loss):
    inputs, targets = everything(batches)

    def worth():
        outputs = net(inputs).detach()
        return float(
            -F.cross_entropy(outputs, targets) if loss else (outputs.argmax(1) == targets).double().mean()
        )

    whole, expected = worth(), []
    with torch.no_grad():
        for weight in (net.fc1.weight, net.fc2.weight):
            for i in range(weight.numel()):
                before = weight.view(-1)[i].clone()
                weight.view(-1)[i] = 0
                expected.append(whole - worth())
                weight.view(-1)[i] = before
    found = flat(DirectRemoval(loss=loss).elements(graph, task, NAMES)).double()
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-6)
    with pytest.raises(RecipeError, match="35 groups would take as many passes"):
        DirectRemoval(most=34).elements(graph, task, NAMES)


class Operators(nn.Module):
    """Every kind of layer that Wanda must look behind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
        self.bn = nn.BatchNorm2d(6)
        self.mix = nn.Parameter(torch.randn(6 * 9, 5))
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).flatten(1) @ self.mix)


@pytest.fixture(scope="module")
def operators():
    torch.manual_seed(1)
    net = Operators().double().eval()
    return net, gs.trace(net, torch.randn(2, 4, 5, 5, dtype=torch.float64))


def test_wanda(operators):
    net, graph = operators
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    found = Wanda().elements(graph, gs.Task(calib=[x[:2], x[2:]]), ("conv.weight", "mix", "fc.weight"))
    columns = F.unfold(x, 3, padding=1, stride=2).view(3, 2, 2 * 9, -1)  # examples, groups, taps, positions
    norms = columns.square().sum((0, 3)).sqrt().view(2, 1, 2, 3, 3).expand(2, 3, 2, 3, 3).reshape(6, 2, 3, 3)
    close(found["conv.weight"], net.conv.weight.detach().abs() * norms)
    hidden = torch.relu(net.bn(net.conv(x))).flatten(1).detach()
    close(found["mix"], net.mix.detach().abs() * hidden.norm(dim=0).unsqueeze(1))
    close(found["fc.weight"], net.fc.weight.detach().abs() * (hidden @ net.mix.detach()).norm(dim=0))


def test_batch_norm_scale(operators):
    _, graph = operators
    with torch.no_grad():
        graph.get_submodule("bn").weight.copy_(torch.arange(-3.0, 3.0))
    found = BatchNormScale().elements(graph, gs.Task(), ("conv.weight",))["conv.weight"]
    close(found.flatten(1).sum(1), torch.arange(-3.0, 3.0, dtype=torch.float64).abs())
    with pytest.raises(RecipeError, match="no batch norm follows fc"):
        gs.Prune(0.5, by=BatchNormScale(), overrides={"conv": 0, "mix": 0})(graph, gs.Task())


def test_removed_weights_have_no_score_but_a_gradient(graph, task):
    """A probe sees through masks: what is removed has the gradient that it would have at zero."""
    pruned = gs.Prune(0.5)(graph, task)
    probe = sampling.Probe.of(pruned, NAMES)
    inputs, targets = task.train[0]
    gradients = probe.gradients(F.cross_entropy(probe.graph(inputs), targets))
    assert bool((gradients["fc1.weight"][effective(pruned, "fc1.weight") == 0] != 0).any())
    before = fingerprint(pruned)
    gs.Prune(0.7, by=Taylor(), allocate=Global())(pruned, task)
    assert fingerprint(pruned) == before and isinstance(gs.graph.transforms(pruned, "fc1.weight")[0], Mask)


def test_what_is_missing_is_named_before_anything_runs(graph):
    with pytest.raises(TaskError, match="train"):
        gs.Prune(0.5, by=Taylor()).check(graph, gs.Task())
    with pytest.raises(TaskError, match="valid"):
        gs.Prune(0.5, by=DirectRemoval()).check(graph, gs.Task())


def test_recurrent_layers_are_scored_by_magnitude_and_that_is_said():
    net = nn.LSTM(3, 4, batch_first=True)
    graph = gs.trace(net, torch.randn(2, 5, 3))
    with record() as notes:
        found = Wanda().elements(graph, gs.Task(calib=[torch.randn(2, 5, 3)]), ("weight_ih_l0",))
    assert torch.equal(found["weight_ih_l0"], net.weight_ih_l0.detach().abs())
    assert any("not linear" in note.message for note in notes)


GRANULARITIES = [Elements(), NM(2, 4), Blocks(), Blocks(2, 1), Blocks(3, 4)]


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=repr)
@pytest.mark.parametrize("shape", [(5, 6), (8, 8), (7, 5, 3, 3), (4, 1, 3, 3)], ids=str)
def test_groups_cover_every_weight_once(granularity, shape):
    kind = nn.Linear(shape[1], shape[0]) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], shape[2])
    example = torch.randn(2, shape[1]) if len(shape) == 2 else torch.randn(2, shape[1], 8, 8)
    graph = gs.trace(nn.Sequential(kind), example)
    (groups,) = granularity.groups(graph, gs.graph.layers(graph))
    numbers = torch.arange(1.0, 1 + math.prod(shape)).view(shape)
    gathered = groups.gather({"0.weight": numbers})
    assert gathered.shape == (groups.count, groups.size)
    assert sorted(gathered[gathered > 0].tolist()) == numbers.flatten().tolist()
    for index in range(groups.count):
        only = torch.zeros(groups.count, dtype=torch.bool)
        only[index] = True
        (mask,) = groups.spread(only).values()
        assert sorted(numbers[mask].tolist()) == sorted(v for v in gathered[index].tolist() if v)


def test_blocks_are_the_engine_s():
    """1x4 along the inputs of one tap, over 4 outputs: counted by hand on a convolution."""
    graph = gs.trace(nn.Sequential(nn.Conv2d(8, 8, 3)), torch.randn(2, 8, 6, 6))
    weight = effective(gs.Prune(0.75, granularity=Blocks())(graph, gs.Task()), "0.weight")
    blocks = weight.view(2, 4, 2, 4, 9).permute(0, 2, 4, 1, 3).reshape(36, 16)
    zero = (blocks == 0).sum(1)
    assert sorted(zero.tolist()) == [0] * 9 + [16] * 27


@pytest.mark.parametrize("shape", [(6, 8), (6, 10), (4, 8, 3, 3)], ids=str)
def test_n_of_m_along_the_inputs(shape):
    kind = nn.Linear(shape[1], shape[0]) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], 3)
    example = torch.randn(2, shape[1]) if len(shape) == 2 else torch.randn(2, shape[1], 8, 8)
    graph = gs.trace(nn.Sequential(kind), example)
    before = effective(graph, "0.weight")
    weight = effective(gs.Prune(0.5, granularity=NM(2, 4))(graph, gs.Task()), "0.weight")
    rows = weight.movedim(1, -1).reshape(-1, shape[1])
    for row, old in zip(rows, before.movedim(1, -1).reshape(-1, shape[1]), strict=True):
        for start in range(0, shape[1], 4):
            run, source = row[start : start + 4], old[start : start + 4].abs()
            assert int((run != 0).sum()) == 2
            assert source[run != 0].min() >= (source[run == 0].max() if len(run) > 2 else 0)
    with pytest.raises(RecipeError, match="removes at most 0.5"):
        gs.Prune(0.6, granularity=NM(2, 4))


class Chain(nn.Module):
    """A convolution whose channels 1 and 4 do the same, with their norm, and a layer behind a flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6 * 9, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))


def test_duplicates_are_merged_exactly():
    torch.manual_seed(3)
    net = Chain().double().eval()
    with torch.no_grad():
        for tensor in (net.conv.weight, net.conv.bias, net.norm.weight, net.norm.bias, net.norm.running_mean):
            tensor[4] = tensor[1]
    x = torch.randn(5, 2, 5, 5, dtype=torch.float64)
    graph = gs.trace(net, x)
    prune = gs.Prune(1 / 6, Channels(round_to=1), Similarity(), overrides={"fc": 0.0})
    smaller = prune(graph, gs.Task())
    assert smaller.get_submodule("conv").weight.shape[0] == 5
    assert torch.allclose(smaller.eval()(x), net(x), atol=1e-12)
    plain = gs.Prune(1 / 6, Channels(round_to=1), Magnitude(), overrides={"fc": 0.0})(graph, gs.Task())
    assert not torch.allclose(plain.eval()(x), net(x), atol=1e-3)


def test_similarity_by_srinivas_and_babu():
    """Two layers without norms: the saliency matrix by loops, and greedy removal from it."""
    torch.manual_seed(6)
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    graph = gs.trace(net, torch.randn(2, 5, dtype=torch.float64))
    incoming = torch.cat([net[0].weight, net[0].bias[:, None]], 1).detach()
    outgoing = net[2].weight.detach()
    left, order = set(range(7)), []
    costs = {
        (i, j): float(outgoing[:, j].square().mean() * (incoming[i] - incoming[j]).square().sum())
        for i in range(7)
        for j in range(7)
        if i != j
    }
    while len(left) > 1:
        _, unit = min((costs[i, j], j) for i in left for j in left if i != j)
        left.remove(unit)
        order.append(unit)
    scores = Similarity().elements(graph, gs.Task(), ("0.weight",))["0.weight"].sum(1)
    assert scores.argsort().tolist()[:6] == order
    assert float(scores[order[0]]) == pytest.approx(min(costs.values()))
    pruned = gs.Prune(3 / 7, Channels(round_to=1), Similarity(), overrides={"2": 0.0})(graph, gs.Task())
    expected = outgoing.clone()
    stays = sorted(set(range(7)) - set(order[:3]))
    for unit in order[:3]:
        expected[:, min(stays, key=lambda i: costs[i, unit])] += outgoing[:, unit]
    close(pruned.get_submodule("2").weight.detach(), expected[:, stays])


def test_scores_that_are_no_numbers_are_refused_by_name(graph):
    broken = gs.Task(
        train=[(torch.randn(4, 4, dtype=torch.float64), torch.zeros(4))],
        loss=lambda y, _: (0 * y.sum()).log(),
    )
    with pytest.raises(RecipeError, match=r"Taylor.*fc1\.weight that are NaN or infinite"):
        gs.Prune(0.5, by=Taylor())(graph, broken)
