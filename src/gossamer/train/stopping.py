"""Early stopping on the validation metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from gossamer.errors import RecipeError
from gossamer.task import Task


@final
@dataclass(frozen=True)
class EarlyStopping:
    """Stop after ``patience`` epochs in a row that did not better the best metric by over ``min_delta``.

    ``restore_best``: end with the weights of the best epoch, whether the training stopped early or not,
    instead of those of the last. What the best is, the validation set decides: keep a test set apart.
    """

    patience: int = 3
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        if self.patience < 1 or not self.min_delta >= 0:
            raise RecipeError(f"{self}: needs patience >= 1 and min_delta >= 0")


@dataclass
class Best:
    """The best epoch so far; all of it goes into a checkpoint."""

    metric: float | None = None
    epoch: int = 0
    waited: int = 0  # epochs since
    state: dict[str, Tensor] | None = None

    def update(self, rule: EarlyStopping, task: Task, epoch: int, metric: float, network: nn.Module) -> None:
        """Take note of the metric after ``epoch``."""
        margin = rule.min_delta if task.maximize else -rule.min_delta
        if self.metric is not None and not task.better(metric, self.metric + margin):
            self.waited += 1
            return
        self.metric, self.epoch, self.waited = metric, epoch, 0
        if rule.restore_best:
            self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}
