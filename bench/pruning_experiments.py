"""The experiments on pruning, as jobs: one configuration with one seed each, independent of one another."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from pruning_comparisons import comparisons
from pruning_jobs import Job, Steps, Work, run
from pruning_lab import SUBJECTS, Lab, Subject
from torch import nn

from gossamer.graph import Graph, effective, layers, original
from gossamer.prune import (
    SNIP,
    Global,
    Gradual,
    LayerAdaptive,
    Prune,
    Reinitialize,
    Surgery,
)
from gossamer.prune.prune import apply_mask
from gossamer.train import SGD, Adam, AdamW, Constant, Cosine, Finetune, Optimizer, history

# What the papers removed, by the paper's own method or one that came after it.


@dataclass(frozen=True)
class Sparse:
    """A trained network, pruned to ``kept`` percent within one training by ``schedule``."""

    subject: str
    kept: float
    schedule: str  # "gradual", "surgery"
    epochs: int
    optimizer: Optimizer
    dropout: float = 0.0

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.subject} {self.kept:g} % {self.schedule}"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Start from the baseline."""
        subject = dataclasses.replace(SUBJECTS[self.subject], dropout_pruned=self.dropout)
        prune = Prune(1 - self.kept / 100, allocate=LayerAdaptive(), least=0.001)
        during = Gradual(prune, every=50) if self.schedule == "gradual" else Surgery(prune)
        train = lab.short(Finetune(self.epochs, self.optimizer, Cosine(), seed=seed, during=(during,)))
        dense = lab.baseline(subject, seed)
        sparse = run(lab, f"{self.name}-{seed}", [train], dense, lab.task(subject))
        return lab.outcome(subject, sparse) | {
            "dense": lab.error(subject, lab.baseline(subject, seed), "test")
        }


# What surgery has removed trains on, though the loss does not see it: by Adam's steps, or without weight decay, it
# comes back at random. So SGD with weight decay there.
SPARSE = (
    Sparse("lenet-300-100", 8.0, "gradual", 15, AdamW(2e-3, weight_decay=0.02)),
    Sparse("lenet-300-100", 1.8, "gradual", 40, AdamW(2e-3, weight_decay=0.0)),
    Sparse("lenet-300-100", 1.8, "surgery", 40, SGD(0.05, weight_decay=2e-3)),
    Sparse("lenet-5", 8.0, "gradual", 8, AdamW(2e-3, weight_decay=0.02), dropout=0.1),
    Sparse("lenet-5", 0.93, "gradual", 25, AdamW(3e-3, weight_decay=0.0)),
)


@dataclass(frozen=True)
class AtInitialization:
    """SNIP: pruned before any training; scaled so that variance is kept, as the paper starts (section 5)."""

    subject: str
    removed: float
    epochs: int
    optimizer: Optimizer
    shift: int

    @property
    def name(self) -> str:
        """In the results."""
        return f"{self.subject} {self.removed:g} % removed"

    def __call__(self, lab: Lab, seed: int) -> dict[str, Any]:
        """Prune the fresh network, train what is left."""
        subject = SUBJECTS[self.subject]
        task = lab.task(subject, shift=self.shift)
        prune = Prune(self.removed / 100, by=SNIP(batches=20, seed=seed), allocate=Global(), least=0.0)
        train = lab.short(Finetune(self.epochs, self.optimizer, Cosine(), seed=seed))
        graph = run(lab, f"snip-{self.name}-{seed}", [prune, train], scaled(lab.fresh(subject, seed)), task)
        return lab.outcome(subject, graph)


# LeNet-5 with the paper's optimizer: 0.2 to 0.4 points better than Adam at 99 %. The 4,300 weights left there still
# overfit (0.15 % training error after 30 epochs on unshifted images), so images are shifted, for longer.
SNIPS = (
    AtInitialization("lenet-300-100", 95, 120, AdamW(4e-3, weight_decay=0.0), 1),
    AtInitialization("lenet-5", 98, 30, SGD(0.1, weight_decay=5e-4), 1),
    AtInitialization("lenet-5", 99, 45, SGD(0.1, weight_decay=2e-4), 1),
)


def scaled(fresh: Graph) -> Graph:
    """The untrained network with weights of variance 1 / inputs, and no biases (torch's own are a third of that)."""
    for layer in layers(fresh):
        weight = original(fresh, layer.weight)
        with torch.no_grad():
            nn.init.trunc_normal_(weight, std=weight[0].numel() ** -0.5)
            if (bias := fresh.get_submodule(layer.name).bias) is not None:
                bias.zero_()
    return fresh


# The lottery ticket: 20 % fewer weights a round, 10 % in the last layer (Frankle and Carbin 2019, figure 2).

LOTTERY_BATCH, LOTTERY_ROUNDS = 60, 15
EVERY = 100  # steps between two looks at the validation loss


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
        train=Steps(task.train, EVERY),
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


def baseline_jobs(wanted: Sequence[Job]) -> list[Job]:
    """The baselines that ``wanted`` start from."""

    def work(subject: Subject) -> Work:
        return lambda lab, seed: {"error": lab.error(subject, lab.baseline(subject, seed), "test")}

    pairs = dict.fromkeys((name, job.seed) for job in wanted for name in job.needs)
    return [Job("baseline", name, seed, work(SUBJECTS[name])) for name, seed in pairs]
