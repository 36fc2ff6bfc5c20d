"""The experiments on pruning, as jobs: one configuration with one seed each, independent of one another."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from pruning_lab import SUBJECTS, Lab, Subject

import gossamer as gs
from gossamer.graph import Graph, Pass, cost, effective, layers
from gossamer.prune import (
    LAMP,
    NM,
    OBD,
    OBS,
    SNIP,
    Allocation,
    BatchNormScale,
    Blocks,
    Budget,
    Chance,
    Channels,
    Criterion,
    DirectRemoval,
    Elements,
    ErdosRenyi,
    GeometricMedian,
    Global,
    GradientTimesWeight,
    Gradual,
    Granularity,
    GraSP,
    LayerAdaptive,
    Macs,
    Magnitude,
    Movement,
    Prune,
    Reinitialize,
    Scratch,
    Sensitivity,
    Surgery,
    SynFlow,
    Taylor,
    Uniform,
    Wanda,
)
from gossamer.prune.prune import apply_mask
from gossamer.recipe import Full, unroll
from gossamer.train import Adam, AdamW, Constant, Cosine, Finetune, checkpointing, history

Work = Callable[[Lab, int], dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """``work(lab, seed)`` gives plain numbers. ``needs``: the subjects whose baselines it starts from."""

    experiment: str
    name: str
    seed: int
    work: Work
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.experiment}/{self.name}/{self.seed}"


def run(lab: Lab, key: str, recipe: Sequence[Pass], graph: Graph, task: gs.Task) -> Graph:
    """The passes one after the other; killed, the trainings go on where they were, and finished ones are read."""
    with checkpointing(lab.folder / "checkpoints" / key.replace("/", "~"), seconds=60):
        for each in recipe:
            graph = each(graph, task)
    return graph


def fine_tuning(lab: Lab, epochs: int, lr: float, decay: float, seed: int, *during: Any) -> Finetune:
    """AdamW and a cosine down to zero."""
    train = Finetune(epochs, AdamW(lr, weight_decay=decay), Cosine(), seed=seed, during=during)
    return lab.short(train)


# What the papers removed, by the paper's own method or one that came after it.


@dataclass(frozen=True)
class Sparse:
    """A trained network, pruned to ``kept`` percent within one training by ``schedule``."""

    subject: str
    kept: float
    schedule: str  # "gradual", "surgery"
    epochs: int
    lr: float
    decay: float = 0.0
    shift: int = 1
    dropout: float = 0.0
    allocate: Allocation = LayerAdaptive()

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.subject} {self.kept:g} % {self.schedule}"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Start from the baseline."""
        subject = dataclasses.replace(SUBJECTS[self.subject], dropout_pruned=self.dropout)
        prune = Prune(1 - self.kept / 100, allocate=self.allocate, least=0.001)
        during = Gradual(prune, every=50) if self.schedule == "gradual" else Surgery(prune)
        train = fine_tuning(lab, self.epochs, self.lr, self.decay, seed, during)
        dense = lab.baseline(subject, seed)
        sparse = run(lab, f"{self.name}-{seed}", [train], dense, lab.task(subject, self.shift))
        return lab.outcome(subject, sparse) | {
            "dense": lab.error(subject, lab.baseline(subject, seed), "test")
        }


SPARSE = (
    Sparse("lenet-300-100", 8.0, "gradual", 15, 2e-3, 0.02),
    Sparse("lenet-300-100", 1.8, "surgery", 60, 2e-3),
    Sparse("lenet-5", 8.0, "gradual", 8, 2e-3, 0.02, dropout=0.1),
    Sparse("lenet-5", 0.93, "surgery", 30, 2e-3),
)


@dataclass(frozen=True)
class AtInitialization:
    """SNIP: pruned before any training."""

    subject: str
    removed: float
    epochs: int
    lr: float
    decay: float

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.subject} {self.removed:g} % removed"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Prune the fresh network, train what is left."""
        subject = SUBJECTS[self.subject]
        prune = Prune(self.removed / 100, by=SNIP(batches=20, seed=seed), allocate=Global(), least=0.0)
        train = fine_tuning(lab, self.epochs, self.lr, self.decay, seed)
        graph = run(
            lab, f"snip-{self.name}-{seed}", [prune, train], lab.fresh(subject, seed), lab.task(subject)
        )
        return lab.outcome(subject, graph)


SNIPS = (
    AtInitialization("lenet-300-100", 95, 30, 2e-3, 0.01),
    AtInitialization("lenet-5", 98, 12, 3e-3, 0.01),
    AtInitialization("lenet-5", 99, 12, 3e-3, 0.01),
)


# The lottery ticket: 20 % fewer weights a round, 10 % in the last layer (Frankle and Carbin 2019, figure 2).

LOTTERY_BATCH, LOTTERY_ROUNDS = 60, 15
EVERY = 100  # steps between two looks at the validation loss


class Steps:
    """A loader whose epochs are ``count`` batches of another one, which goes on where it was."""

    def __init__(self, batches: Any, count: int) -> None:
        self._batches, self._count = batches, count
        self._left: Iterator[Any] = iter(())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self._count):
            batch = next(self._left, None)
            if batch is None:
                self._left = iter(self._batches)
                batch = next(self._left)
            yield batch


def under_masks_of(start: Graph, pruned: Graph) -> Graph:
    """A copy of ``start`` with the zeros of ``pruned``."""
    ticket = copy.deepcopy(start)
    for layer in layers(start):
        apply_mask(ticket, layer.weight, effective(pruned, layer.weight) != 0, quietly=True)
    return ticket


def lottery(lab: Lab, seed: int, iterations: int = 6_000) -> dict[str, Any]:
    """Every round's ticket, and at three of them the same masks with new weights; and the one-shot ticket."""
    subject = SUBJECTS["lenet-300-100"]
    task = lab.task(subject, shift=0, batch=LOTTERY_BATCH)
    task = dataclasses.replace(
        task,
        train=Steps(task.train),
        metric=lambda outputs, targets: float(F.cross_entropy(outputs, targets)),
    )
    train = lab.short(Finetune(iterations // EVERY, Adam(1.2e-3), Constant(), seed=seed))
    start = lab.fresh(subject, seed)
    found: dict[str, Any] = {}

    def trained(name: str, graph: Graph) -> Graph:
        with history() as epochs:
            after = run(lab, f"lottery-{name}-{seed}", [train], graph, task)
        outcome = lab.outcome(subject, after)
        outcome.pop("layers")
        found[name] = outcome | {"curve": [round(e.metric or 0.0, 5) for e in epochs]}
        return after

    ticket = start
    whole = trained("ticket 0", ticket)
    for round_ in range(1, LOTTERY_ROUNDS + 1):
        after = trained(f"ticket {round_ - 1}", ticket) if round_ > 1 else whole
        hidden, last = 0.8**round_, 0.9**round_
        ticket = under_masks_of(start, Prune(1 - hidden, overrides={"fc3": 1 - last})(after, task))
        if round_ in (3, 7, 15):
            trained(f"reinit {round_}", under_masks_of(Reinitialize(1000 + seed)(start, task), ticket))
            once = Prune(1 - hidden, overrides={"fc3": 1 - last})(whole, task)
            trained(f"one-shot {round_}", under_masks_of(start, once))
    trained(f"ticket {LOTTERY_ROUNDS}", ticket)
    return found


# All criteria side by side.

TUNING = 200  # steps


def tuned(lab: Lab, subject: Subject, graph: Graph, seed: int) -> float:
    """The test error after a short fine-tuning."""
    task = lab.task(subject)
    task = dataclasses.replace(task, train=Steps(task.train, TUNING), valid=None)
    train = Finetune(1, AdamW(1e-3, weight_decay=0.0), Cosine(warmup=0.1), seed=seed)
    return lab.error(subject, train(graph, task), "test")


CRITERIA: dict[str, Callable[[int], Criterion]] = {
    "magnitude": lambda seed: Magnitude(),
    "LAMP": lambda seed: LAMP(),
    "chance": lambda seed: Chance(seed),
    "Taylor 1": lambda seed: Taylor(seed=seed),
    "Taylor 2": lambda seed: Taylor(order=2, seed=seed),
    "gradient x weight": lambda seed: GradientTimesWeight(seed=seed),
    "OBD": lambda seed: OBD(seed=seed),
    "OBS (WoodFisher)": lambda seed: OBS(seed=seed),
    "movement": lambda seed: Movement(batches=None, lr=0.02, seed=seed),
    "SNIP": lambda seed: SNIP(seed=seed),
    "GraSP": lambda seed: GraSP(seed=seed),
    "SynFlow": lambda seed: SynFlow(),
    "Wanda": lambda seed: Wanda(seed=seed),
}
KEPT = (50.0, 20.0, 10.0, 5.0, 2.0, 1.0)


@dataclass(frozen=True)
class OneShot:
    """One network, one criterion: at every share, the error at once and after fine-tuning."""

    subject: str
    criterion: str

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.subject} {self.criterion}"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Start from the baseline each time."""
        subject = SUBJECTS[self.subject]
        task = lab.task(subject)
        by = CRITERIA[self.criterion](seed)
        allocate = Uniform() if isinstance(by, Chance) else Global()
        dense = lab.baseline(subject, seed)
        rows = {}
        for kept in KEPT:
            pruned = Prune(1 - kept / 100, by=by, allocate=allocate)(dense, task)
            at_once = lab.error(subject, pruned, "test")
            after = tuned(lab, subject, pruned, seed)
            rows[f"{kept:g}"] = {"at_once": at_once, "tuned": after}
        return {"rows": rows, "dense": lab.error(subject, dense, "test")}


# How much from where: the same criterion, magnitude, under every allocation.

ALLOCATIONS: dict[str, Allocation] = {
    "uniform": Uniform(),
    "global": Global(),
    "ERK": ErdosRenyi(),
    "LAMP": LayerAdaptive(),
    "sensitivity": Sensitivity(),
    "budget of MACs": Budget(Macs()),
}


@dataclass(frozen=True)
class Allocated:
    """One network, one allocation: at every share, the error at once and after fine-tuning."""

    subject: str
    allocation: str

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.subject} {self.allocation}"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Start from the baseline each time."""
        subject = SUBJECTS[self.subject]
        task, dense = lab.task(subject), lab.baseline(subject, seed)
        cache = lab.folder / f"sensitivity-{self.subject}-{seed}.json"
        allocate = ALLOCATIONS[self.allocation]
        if isinstance(allocate, Sensitivity):
            allocate = Sensitivity(cache=str(cache))
        rows, found = {}, {}
        for kept in KEPT[1:-1]:
            pruned = Prune(1 - kept / 100, allocate=allocate)(dense, task)
            at_once = lab.outcome(subject, pruned)
            after = tuned(lab, subject, pruned, seed)
            rows[f"{kept:g}"] = {"at_once": at_once["error"], "tuned": after}
            rows[f"{kept:g}"]["kept"] = at_once["kept"]
        if isinstance(allocate, Sensitivity):
            (curves,) = json.loads(cache.read_text()).values()
            found["curves"] = {"shares": list(allocate.shares), "increase": curves}
        return {"rows": rows, "dense": lab.error(subject, dense, "test"), **found}


# Patterns for speed.

PATTERNS: dict[str, Granularity] = {
    "elements": Elements(),
    "2x1": Blocks(2, 1),
    "4x1": Blocks(4, 1),
    "1x4": Blocks(1, 4),
    "1x4 over 2": Blocks(2, 4),
    "1x4 over 4": Blocks(4, 4),
}


@dataclass(frozen=True)
class Pattern:
    """The residual network pruned in a pattern; the stem and the last layer stay whole."""

    pattern: str
    removed: float
    epochs: int = 3

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.pattern} {self.removed:g} %"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Start from the baseline."""
        subject = SUBJECTS["residual"]
        prune = Prune(
            self.removed / 100, PATTERNS[self.pattern], allocate=Global(), overrides={"stem": 0.0, "fc": 0.0}
        )
        train = fine_tuning(lab, self.epochs, 2e-3, 0.01, seed, Gradual(prune, every=50))
        graph = run(
            lab, f"pattern-{self.name}-{seed}", [train], lab.baseline(subject, seed), lab.task(subject)
        )
        outcome = lab.outcome(subject, graph)
        if seed == 0:
            lab.keep(f"blocks/{self.name}", graph)
        return outcome


@dataclass(frozen=True)
class FewOfMany:
    """The same in N:M."""

    n: int
    m: int
    epochs: int = 3

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.n}:{self.m}"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Start from the baseline."""
        subject = SUBJECTS["residual"]
        prune = Prune(1 - self.n / self.m, NM(self.n, self.m), overrides={"stem": 0.0, "fc": 0.0})
        train = fine_tuning(lab, self.epochs, 2e-3, 0.01, seed, Gradual(prune, every=50))
        graph = run(lab, f"nm-{self.name}-{seed}", [train], lab.baseline(subject, seed), lab.task(subject))
        return lab.outcome(subject, graph)


def dense_residual(lab: Lab, seed: int) -> dict[str, Any]:
    """The baseline itself, beside the patterns."""
    subject = SUBJECTS["residual"]
    graph = lab.baseline(subject, seed)
    outcome = lab.outcome(subject, graph)
    if seed == 0:
        lab.keep("blocks/dense", graph)
    return outcome


# Channels, physically removed: half the multiply-accumulates.

CHANNEL_CRITERIA: dict[str, Callable[[int], Criterion]] = {
    "Taylor 1": lambda seed: Taylor(batches=64, seed=seed),
    "magnitude L1": lambda seed: Magnitude(1.0),
    "magnitude L2": lambda seed: Magnitude(2.0),
    "OBD": lambda seed: OBD(batches=64, probes=1, seed=seed),
    "geometric median": lambda seed: GeometricMedian(),
    "batch norm's scale": lambda seed: BatchNormScale(),
    "direct removal": lambda seed: DirectRemoval(loss=True),
    "chance": lambda seed: Chance(seed),
}


@dataclass(frozen=True)
class HalfTheMacs:
    """The wide residual network with half its multiply-accumulates, in ``rounds`` rounds of Prune and Finetune.

    ``how``: "fine-tuned", or the pruned architecture from new weights: "scratch-E", "scratch-B".
    """

    criterion: str
    how: str = "fine-tuned"
    rounds: int = 2
    epochs: int = 6

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.criterion}, {self.how}"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Start from the baseline."""
        subject = SUBJECTS["residual"]
        dense, task = lab.baseline(subject, seed), lab.task(subject)
        by = CHANNEL_CRITERIA[self.criterion](seed)
        within = Uniform() if isinstance(by, Chance | GeometricMedian) else Global()
        prune = Prune(
            1 - 0.5 ** (1 / self.rounds), Channels(round_to=4), by, Budget(Macs(), within), least=0.1
        )
        between = [fine_tuning(lab, 1, 1e-3, 0.02, seed)]
        recipe = [*unroll([gs.Repeat(self.rounds, [prune, *between], Full())])]
        last = {
            "fine-tuned": fine_tuning(lab, self.epochs, 2e-3, 0.02, seed),
            "scratch-E": Scratch(lab.short(subject.training(seed)), seed=1000 + seed),
            "scratch-B": Scratch(lab.short(subject.training(seed)), cost(dense).macs, seed=1000 + seed),
        }[self.how]
        graph = run(lab, f"channels-{self.name}-{seed}", [*recipe, last], dense, task)
        dense = lab.baseline(subject, seed)
        outcome = lab.outcome(subject, graph) | {"dense": lab.error(subject, dense, "test")}
        outcome["dense_macs"] = cost(dense).macs
        if seed == 0 and self.how == "fine-tuned":
            lab.keep(f"channels/{self.name}", graph)
            lab.keep("channels/dense", dense)
        return outcome


@dataclass(frozen=True)
class SentenceHeads:
    """MiniLM without a share of its heads."""

    criterion: str
    removed: float

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.criterion} {self.removed:g} %"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """The packages are asked for here, not before."""
        from pruning_heads import heads

        return heads(lab, self.criterion, self.removed, seed)


HEADS = [
    SentenceHeads(c, removed) for c in ("Taylor", "magnitude", "chance") for removed in (12.5, 25.0, 50.0)
]


def jobs(seeds: Sequence[int]) -> list[Job]:
    """All of them: what the papers' figures need first, then the wide comparisons, seed by seed."""
    found = [Job("sparse", each.name, seed, each, (each.subject,)) for seed in seeds for each in SPARSE]
    found += [Job("snip", each.name, seed, each) for seed in seeds for each in SNIPS]
    found += [Job("lottery", "LeNet-300-100", seed, lottery) for seed in seeds]
    found += [Job("heads", each.name, seed, each) for seed in seeds for each in HEADS]
    return found + [job for seed in seeds for job in comparisons(seed)]


def comparisons(seed: int) -> list[Job]:
    """Side by side: channels, criteria, allocations, blocks."""
    halves = [HalfTheMacs("Taylor 1", how) for how in ("fine-tuned", "scratch-E", "scratch-B")]
    halves += [HalfTheMacs(criterion) for criterion in CHANNEL_CRITERIA if criterion != "Taylor 1"]
    found = [Job("channels", half.name, seed, half, ("residual",)) for half in halves]
    for subject in ("lenet-5", "residual"):
        shots = [OneShot(subject, criterion) for criterion in CRITERIA]
        found += [Job("criteria", each.name, seed, each, (subject,)) for each in shots]
        spread = [Allocated(subject, allocation) for allocation in ALLOCATIONS]
        found += [Job("allocation", each.name, seed, each, (subject,)) for each in spread]
    patterns = [Pattern(pattern, removed) for pattern in PATTERNS for removed in (80.0, 90.0, 95.0)]
    found += [Job("blocks", "dense", seed, dense_residual, ("residual",))]
    found += [Job("blocks", each.name, seed, each, ("residual",)) for each in patterns]
    found += [Job("blocks", few.name, seed, few, ("residual",)) for few in (FewOfMany(2, 4), FewOfMany(1, 4))]
    return found


def baseline_jobs(wanted: Sequence[Job]) -> list[Job]:
    """The baselines that ``wanted`` start from."""

    def work(subject: Subject) -> Work:
        return lambda lab, seed: {"error": lab.error(subject, lab.baseline(subject, seed), "test")}

    pairs = dict.fromkeys((name, job.seed) for job in wanted for name in job.needs)
    return [Job("baseline", name, seed, work(SUBJECTS[name])) for name, seed in pairs]
