"""Surgery: pruning and splicing; what was removed too early comes back.

Guo, Yao, Chen: Dynamic Network Surgery for Efficient DNNs. 2016, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from gossamer.errors import RecipeError
from gossamer.graph import Graph, record
from gossamer.task import Task
from gossamer.train import Cubic, During, Moment, Ramp

from ..mask import Mask, OpenMask
from ..prune import Prune, masks_of
from .masking import mask_of, masks_open, pruned_weights, put_masks, require_masks


@final
@dataclass(frozen=True)
class Surgery(During):
    """Every ``every`` steps, until the share ``stop`` of the training, what is kept is decided anew; all weights train.

    Weights that are removed keep their value and follow the gradient (equation 4), so that they may grow back. Train
    with SGD and weight decay: the loss does not feel them, and else they drift until they come back at random. With t
    the least score (magnitude) that ``prune`` would keep in a layer, a group below a = (1 - ``margin``) t goes, one
    above b = (1 + ``margin``) t comes (back), between them everything stays as it is (equation 3). The paper has t from
    a layer's mean and deviation; from a share, what is left is what was asked for: the amounts rise by ``ramp`` over
    the share ``rise`` of the training, and the last decision has no margin. Raises RecipeError for settings out of
    range.
    """

    prune: Prune
    every: int = 20
    rise: float = 0.4
    stop: float = 0.75
    margin: float = 0.1
    ramp: Ramp = field(default_factory=Cubic)

    def __post_init__(self) -> None:
        if (
            self.every < 1
            or not 0 <= self.rise <= self.stop <= 1
            or not 0 <= self.margin < 1
            or self.stop == 0
        ):
            raise RecipeError(
                f"{self}: needs every >= 1, 0 <= rise <= stop <= 1, stop > 0 and 0 <= margin < 1"
            )

    def check(self, graph: Graph, task: Task) -> None:
        """See :class:`During`."""
        require_masks(self.prune)
        self.prune.check(graph, task)

    def begin(self, network: Graph, task: Task) -> None:
        """See :class:`During`."""
        del task
        put_masks(network, pruned_weights(self.prune, network), OpenMask)

    def after_update(self, moment: Moment) -> None:
        """See :class:`During`."""
        last = max(1, round(self.stop * moment.steps))
        if moment.step > last or (moment.step % self.every and moment.step != last):
            return
        risen = moment.step / (self.rise * moment.steps) if self.rise else 1.0
        prune = self.prune.at(self.ramp.strength(min(risen, 1.0)))
        self._operate(prune, moment, 0.0 if moment.step == last else self.margin)

    def end(self, network: Graph) -> None:
        """See :class:`During`."""
        put_masks(network, pruned_weights(self.prune, network), Mask)

    @torch.no_grad()
    def _operate(self, prune: Prune, moment: Moment, margin: float) -> None:
        network = moment.network
        with masks_open(network, pruned_weights(prune, network)) as before, record():
            groups, kept = prune.decide(network, moment.task)
            if margin:
                scores = prune.by.scores(network, moment.task, groups)
                for each in groups:
                    held = each.gather(before).any(1)
                    kept[each.name] = _with_margin(scores[each.name], kept[each.name], held, margin)
        for name, mask in masks_of(groups, kept).items():
            mask_of(network, name).copy_(mask)


def _with_margin(scores: Tensor, kept: Tensor, held: Tensor, margin: float) -> Tensor:
    """Equation 3, with the least score that is kept as threshold; ``held``: what was kept before."""
    least = torch.where(kept, scores, torch.inf).min()
    band = margin * least.abs()
    return (scores >= least + band) | (held & (scores >= least - band))
