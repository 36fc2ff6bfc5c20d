"""What schedules within a training share: masks that are put in place before it, changed during, and left after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gossamer.graph import Graph, add_transform, layers, original, replace_transform, transforms
from gossamer.task import Task

from ..mask import Mask
from ..prune import Prune, masks_of


def pruned_weights(prune: Prune, network: Graph) -> list[str]:
    """The weights that ``prune`` works on."""
    chosen = prune.amounts(layers(network))
    return [name for name, amount in chosen.values.items() if amount > 0]


def put_masks(network: Graph, weights: list[str], kind: type[Mask]) -> None:
    """Let every weight end in a mask of ``kind``: what it has under a mask already, else everything."""
    for name in weights:
        present = transforms(network, name)
        if present and isinstance(present[-1], Mask):
            replace_transform(network, name, len(present) - 1, kind(present[-1].kept))
        else:
            everything = torch.ones_like(original(network, name), dtype=torch.bool)
            add_transform(network, name, kind(everything))


def mask_of(network: Graph, weight: str) -> Tensor:
    """Which elements are kept: the buffer of the weight's mask, to be changed in place."""
    mask = transforms(network, weight)[-1]
    assert isinstance(mask, Mask)  # put_masks put it there
    return mask.kept


def decide(prune: Prune, network: Graph, task: Task) -> dict[str, Tensor]:
    """What ``prune`` would keep of the network as it is, bool by weight."""
    with torch.no_grad():
        return masks_of(*prune.decide(network, task))


@contextmanager
def masks_open(network: Graph, weights: list[str]) -> Iterator[dict[str, Tensor]]:
    """Inside, no weight is masked; afterwards the masks are as before. Gives what they kept."""
    before = {name: mask_of(network, name).clone() for name in weights}
    for name in weights:
        mask_of(network, name).fill_(True)
    try:
        yield before
    finally:
        for name, kept in before.items():
            mask_of(network, name).copy_(kept)
