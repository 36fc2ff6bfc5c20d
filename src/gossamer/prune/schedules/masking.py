"""What schedules within a training share: masks that are put in place before it, changed during, and left after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, add_transform, layers, original, record, replace_transform, transforms
from gossamer.task import Task

from ..granularity import Granularity, Groups
from ..mask import Mask
from ..prune import Prune, masks_of


def require_masks(prune: Prune) -> None:
    """Raise RecipeError for a granularity that removes: a training cannot change the shapes that it trains."""
    if type(prune.granularity).removed is not Granularity.removed:
        raise RecipeError(
            f"{prune.granularity} removes what it prunes, which a training cannot do on its way; alternate instead: "
            "Repeat(n, [Prune(...), Finetune(...)])"
        )


def groups_of(prune: Prune, network: Graph) -> list[Groups]:
    """The groups that ``prune`` works on."""
    weights = set(pruned_weights(prune, network))
    with record():  # what cannot be divided was said when the training began
        return prune.granularity.groups(network, [x for x in layers(network) if x.weight in weights])


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
