"""Gradual: more and more goes while the network trains.

Zhu, Gupta: To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression. 2017, equation 1 (AGP).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from gossamer.errors import RecipeError
from gossamer.graph import Graph, record
from gossamer.task import Task
from gossamer.train import Cubic, During, Moment, Ramp

from ..mask import Mask
from ..prune import Prune
from .masking import decide, mask_of, pruned_weights, put_masks, require_masks


@final
@dataclass(frozen=True)
class Gradual(During):
    """``prune`` every ``every`` steps, stronger by ``ramp``, from the share ``start`` of the training to ``stop``.

    With the Cubic ramp it is the paper's. What is removed stays removed. The weights that stay are not compensated.
    Raises RecipeError unless 0 <= start < stop <= 1.
    """

    prune: Prune
    every: int = 100
    start: float = 0.0
    stop: float = 0.6
    ramp: Ramp = field(default_factory=Cubic)

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 <= self.start < self.stop <= 1:
            raise RecipeError(f"{self}: needs every >= 1 and 0 <= start < stop <= 1")

    def check(self, graph: Graph, task: Task) -> None:
        """See :class:`During`."""
        require_masks(self.prune)
        self.prune.check(graph, task)

    def begin(self, network: Graph, task: Task) -> None:
        """See :class:`During`."""
        del task
        put_masks(network, pruned_weights(self.prune, network), Mask)

    def after_update(self, moment: Moment) -> None:
        """See :class:`During`."""
        last = max(1, round(self.stop * moment.steps))
        if moment.step > last or (moment.step % self.every and moment.step != last):
            return
        begun = self.start * moment.steps
        progress = (moment.step - begun) / (last - begun)
        if progress <= 0:
            return
        weaker = self.prune.at(self.ramp.strength(min(progress, 1.0)))
        with record():  # of every step alike: what was done in the end is seen in the masks
            for name, kept in decide(weaker, moment.network, moment.task).items():
                mask_of(moment.network, name).logical_and_(kept)
