"""What a part of the pruning benchmark is, and what every part does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pruning_lab import Lab

import gossamer as gs
from gossamer.graph import Graph, Pass
from gossamer.train import AdamW, Cosine, Finetune, checkpointing

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
