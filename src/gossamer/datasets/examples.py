"""Examples held in memory, and a loader that takes a whole batch of them by one index operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gossamer.errors import TaskError


@dataclass(frozen=True)
class Examples(Dataset[tuple[Tensor, Tensor]]):
    """``inputs`` (n, ...) and ``targets`` (n, ...), example by example in the same order.

    Raises ``TaskError`` where the two differ in length.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise TaskError(f"{len(self.inputs)} inputs but {len(self.targets)} targets; give as many")

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int | slice | Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A batch at once: what ``DataLoader`` calls instead of fetching and stacking single examples."""
        return self[torch.tensor(indices)]


@dataclass(frozen=True)
class _Collate:
    """A batch comes whole from ``__getitems__``; all that is left to do is to augment its inputs."""

    augment: Callable[[Tensor], Tensor] | None

    def __call__(self, batch: Any) -> tuple[Tensor, Tensor]:  # DataLoader declares a list
        inputs, targets = batch
        return (inputs if self.augment is None else self.augment(inputs)), targets


def loader(
    examples: Examples,
    batch_size: int,
    *,
    shuffle: bool = False,
    drop_last: bool = False,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """An ordinary ``DataLoader`` over ``examples`` that takes a batch at once, not example by example.

    ``shuffle`` draws the order of each epoch from torch's global generator, so ``torch.manual_seed`` fixes
    it; on several processes ``accelerate`` keeps the order the same on each and deals the batches out.
    ``augment``: inputs of a batch to inputs of the same shape, new every time.
    """
    return DataLoader(
        examples, batch_size, shuffle=shuffle, drop_last=drop_last, collate_fn=_Collate(augment)
    )
