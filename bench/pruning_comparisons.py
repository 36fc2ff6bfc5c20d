"""Criteria, allocations, patterns and channels, each side by side with all else equal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pruning_jobs import Job, Steps, fine_tuning, run
from pruning_lab import SUBJECTS, Lab, Subject

from gossamer.graph import Graph, cost
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
    Scratch,
    Sensitivity,
    Similarity,
    SynFlow,
    Taylor,
    Uniform,
    Wanda,
)
from gossamer.train import AdamW, Cosine, Finetune

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
    "OBS": lambda seed: OBS(seed=seed),
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
    "similarity": lambda seed: Similarity(),
    "direct removal": lambda seed: DirectRemoval(loss=True),
    "chance": lambda seed: Chance(seed),
}


FINE = 4  # channels
SHORT = 6  # epochs


@dataclass(frozen=True)
class HalfTheMacs:
    """The residual network with half its multiply-accumulates, the same share of every group's channels removed.

    (Over all groups at once, small gradients leave hardly a channel of the last groups.) ``how``: "fine-tuned", or the
    pruned architecture from new weights: "scratch-E", "scratch-B". ``round_to``: widths are multiples of it; 4 suits
    kernels of bytes, 8 those of floats.
    """

    criterion: str
    how: str = "fine-tuned"
    epochs: int = SHORT
    round_to: int = FINE

    @property
    def name(self) -> str:
        """In the results."""
        widths = "" if self.round_to == FINE else f"widths of {self.round_to}, "
        longer = "" if self.epochs == SHORT else f" for {self.epochs} epochs"
        return f"{self.criterion}, {widths}{self.how}{longer}"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Start from the baseline."""
        subject = SUBJECTS["residual"]
        dense, task = lab.baseline(subject, seed), lab.task(subject)
        by = CHANNEL_CRITERIA[self.criterion](seed)
        prune = Prune(0.5, Channels(round_to=self.round_to), by, Budget(Macs(), Uniform()), least=0.1)
        last = {
            "fine-tuned": fine_tuning(lab, self.epochs, 2e-3, 0.02, seed),
            "scratch-E": Scratch(lab.short(subject.training(seed)), seed=1000 + seed),
            "scratch-B": Scratch(lab.short(subject.training(seed)), cost(dense).macs, seed=1000 + seed),
        }[self.how]
        graph = run(lab, f"channels-{self.name}-{seed}", [prune, last], dense, task)
        dense = lab.baseline(subject, seed)
        outcome = lab.outcome(subject, graph) | {"dense": lab.error(subject, dense, "test")}
        outcome["dense_macs"] = cost(dense).macs
        if self.how == "fine-tuned":
            lab.keep(f"channels/{self.name}", graph)
            lab.keep("channels/dense", dense)
        return outcome


def comparisons(seed: int) -> list[Job]:
    """Side by side: channels, criteria, allocations, blocks."""
    halves = [HalfTheMacs("Taylor 1", how) for how in ("fine-tuned", "scratch-E", "scratch-B")]
    halves += [HalfTheMacs(criterion) for criterion in CHANNEL_CRITERIA if criterion != "Taylor 1"]
    halves += [HalfTheMacs("Taylor 1", epochs=epochs, round_to=8) for epochs in (SHORT, 16)]
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
