"""The training loop, the only one. What a training is made of is a Finetune; this is how it runs."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gossamer._nested import batch_size, leaves, to_device
from gossamer.errors import CheckpointError, TaskError
from gossamer.graph.journal import note
from gossamer.graph.module import Graph
from gossamer.graph.transform import settle, settling_weights
from gossamer.task import Task, device_of, evaluate, modes_restored, training_batches

from .checkpoint import claim_slot
from .during import Moment
from .history import Epoch, publish
from .parameters import digest, require_finite, trainable, without_gradient_set_aside
from .penalties import begin_penalties
from .processes import Processes, averaged_buffers
from .progress import Bar, progress_bar
from .randomness import random_state, restore_random_state, seed_everything, seed_loader
from .stopping import Best

if TYPE_CHECKING:
    from .finetune import Finetune

# Processes agree on whether to save by a message, which is not worth sending at every step.
_AGREE_EVERY = 20
# Reading a loss from a GPU waits for it; reading them in groups keeps its queue full.
_READ_EVERY = {"cpu": 1}
_READ_EVERY_ELSEWHERE = 20


@dataclass
class Position:
    """How far a training is: what a checkpoint holds besides tensors."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the epoch under way
    loss: float = 0.0  # of that epoch, summed over its examples
    examples: int = 0
    history: list[Epoch] = field(default_factory=list)
    best: Best = field(default_factory=Best)


class Loop:
    """One training of ``network``, in place."""

    def __init__(self, plan: Finetune, network: Graph, task: Task) -> None:
        self._plan, self._network, self._task = plan, network, task
        self._processes = Processes(device_of(network))
        self._steps = count_batches(task)
        self._slot = claim_slot()
        self._fingerprint = self._identify() if self._slot is not None else {}
        self._position = Position()
        self._unread: list[tuple[Tensor, int]] = []
        self._last_loss = math.nan
        self._read_every = _READ_EVERY.get(self._processes.device.type, _READ_EVERY_ELSEWHERE)

    def run(self) -> Position:
        """Train to the end, from the checkpoint where there is one."""
        home, device = device_of(self._network), self._processes.device
        require_finite(self._network)
        if getattr(self._task.train, "persistent_workers", False):
            note(
                "Finetune",
                "the training loader has persistent_workers: what they draw at random depends on what "
                "they drew before, so runs with augmentation cannot be repeated exactly",
            )
        with modes_restored(self._network), torch.enable_grad(), ExitStack() as cleanup:
            self._network.to(device).train()
            for each in self._plan.during:
                each.begin(self._network, self._task)
            self._penalty = begin_penalties(self._plan.penalties, self._network)
            self._step_loss = self._plan.objective.begin(self._task, device)
            if self._processes.count > 1:
                cleanup.enter_context(without_gradient_set_aside(self._network, self._rehearse))
            self._prepare()
            interrupted = self._resume()
            with progress_bar(self._plan.epochs, self._steps, self._processes.is_main) as bar:
                while not self._finished():
                    self._train_epoch(bar, interrupted)
                    self._finish_epoch(bar)
                    interrupted = None
        if self._position.best.state is not None:
            self._network.load_state_dict(self._position.best.state)
        for each in self._plan.during:
            each.end(self._network)
        self._network.to(home)
        return self._position

    def _prepare(self) -> None:
        plan, processes = self._plan, self._processes
        self._trained = trainable(self._network)
        self._settling = settling_weights(self._network)
        self._callable = processes.wrap(self._network)
        self._optimizer = plan.optimizer.build(self._trained)
        self._scaler = processes.accelerator.scaler
        if self._scaler is not None:
            # float16: steps that overflow are skipped. Without a scaler the wrapper would only cost time.
            self._optimizer = processes.accelerator.prepare_optimizer(self._optimizer, device_placement=False)

    def _finished(self) -> bool:
        stopping, position = self._plan.early_stopping, self._position
        stopped = stopping is not None and position.best.waited >= stopping.patience
        return stopped or position.epoch >= self._plan.epochs

    def _train_epoch(self, bar: Bar, interrupted: dict[str, Any] | None) -> None:
        position = self._position
        self._started = time.monotonic()
        for inputs, targets in self._batches(interrupted):
            learning_rate = self._set_learning_rate()
            self._step(inputs, targets)
            position.step += 1
            if len(self._unread) >= self._read_every:
                self._read_losses()
            if self._due():
                self._save()
            bar.step(
                position.epoch + 1,
                position.epoch * self._steps + position.step,
                self._last_loss,
                learning_rate,
            )
        self._read_losses()

    def _batches(self, interrupted: dict[str, Any] | None) -> Iterator[tuple[Any, Any]]:
        """The epoch's batches: the same whether or not the first of them were trained before a kill."""
        position, processes = self._position, self._processes
        key = (self._plan.seed, position.epoch)
        seed_everything(*key)
        seed_loader(self._task.train, *key)
        batches = training_batches(self._task)
        for done in range(position.step):
            if next(batches, None) is None:
                raise CheckpointError(
                    f"the checkpoint was taken {position.step} batches into an epoch, and the training "
                    f"loader now has {done}; give the loader of the interrupted run, or another checkpoint "
                    "directory"
                )
        if interrupted is not None:
            restore_random_state(interrupted)
        elif processes.count > 1:
            # The order of the data is drawn with the first batch, alike everywhere; then dropout differs.
            batches = chain([next(batches)], batches)
            seed_everything(*key, processes.rank + 1)
        return batches

    def _set_learning_rate(self) -> float:
        plan, position = self._plan, self._position
        progress = position.epoch + (position.step + 0.5) / self._steps
        learning_rate = plan.optimizer.lr * plan.schedule.factor(min(progress, plan.epochs), plan.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        return learning_rate

    def _losses(self, network: nn.Module, inputs: Any, targets: Any) -> tuple[Tensor, Tensor | None]:
        """The objective's loss and the penalty on the weights."""
        device = self._processes.device
        inputs, targets = to_device(inputs, device), to_device(targets, device)
        if self._penalty is None:
            return self._step_loss(network, inputs, targets), None
        with parametrize.cached():  # the forward pass and the penalty share one computed weight
            return self._step_loss(network, inputs, targets), self._penalty()

    def _rehearse(self) -> None:
        """The gradients of one batch."""
        loss, penalty = self._losses(self._network, *next(training_batches(self._task)))
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]

    def _step(self, inputs: Any, targets: Any) -> None:
        plan, accelerator = self._plan, self._processes.accelerator
        inputs, targets, weight = self._processes.share(self._task.train, inputs, targets)
        loss, penalty = self._losses(self._callable, inputs, targets)
        if not loss.requires_grad:
            raise TaskError(
                "the training loss does not depend on the weights; compute it with torch operations on "
                "the outputs as they are, without .item(), .detach(), .argmax() or NumPy"
            )
        weighted = loss if weight == 1.0 else loss * weight
        accelerator.backward(weighted if penalty is None else weighted + penalty)
        if plan.clip is not None:
            accelerator.clip_grad_norm_(self._trained, plan.clip)
        moment = self._moment()
        for each in plan.during:
            each.after_gradients(moment)
        self._optimizer.step()
        if self._settling:
            settle(self._network, self._settling, moment.generator())
        for each in plan.during:
            each.after_update(moment)
        self._optimizer.zero_grad(set_to_none=True)
        total = loss.detach() if penalty is None else torch.stack((loss.detach(), penalty.detach()))
        self._unread.append((total, batch_size(inputs) if weight else 0))
        self._inputs = inputs  # for the message, should this batch be the one that broke it

    def _moment(self) -> Moment:
        position, plan = self._position, self._plan
        step = position.epoch * self._steps + position.step + 1
        steps = plan.epochs * self._steps
        return Moment(self._network, self._task, self._optimizer, step, steps, plan.seed)

    def _read_losses(self) -> None:
        """Add the losses since the last reading to the epoch's; one that is not finite ends the training."""
        if not self._unread:
            return
        first_step = self._position.step - len(self._unread) + 1
        for step, (loss, size) in enumerate(self._unread, start=first_step):
            parts = loss.reshape(-1).tolist()
            if not all(math.isfinite(part) for part in parts):
                raise TaskError(self._explain(step, sum(parts)))
            self._last_loss = parts[0]
            self._position.loss += parts[0] * size
            self._position.examples += size
        self._unread.clear()

    def _explain(self, step: int, loss: float) -> str:
        lr, epoch = self._optimizer.param_groups[0]["lr"], self._position.epoch + 1
        what = f"the training loss became {loss} in epoch {epoch}, step {step}, at learning rate {lr:.3g}"
        tensors = [leaf for leaf in leaves(self._inputs) if isinstance(leaf, Tensor)]
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
            return f"{what}: the inputs of this batch hold NaN or infinity; repair the loader"
        return (
            f"{what}; lower the learning rate, clip the gradients (clip=1.0) or warm up "
            "(Cosine(warmup=1)); at the first step, look for a logarithm of zero or a division by zero in "
            "the loss"
        )

    def _finish_epoch(self, bar: Bar) -> None:
        position, task, stopping = self._position, self._task, self._plan.early_stopping
        self._processes.average_buffers(self._network)
        loss, examples = self._processes.sum(position.loss, position.examples)
        metric = None
        if task.valid is not None and task.metric is not None:
            seed_loader(task.valid, self._plan.seed, position.epoch)
            # One process measures and tells: equal weights could give another last digit on another machine.
            metric = self._processes.from_main(
                evaluate(self._network, task) if self._processes.is_main else None
            )
        position.epoch, position.step, position.loss, position.examples = position.epoch + 1, 0, 0.0, 0
        if stopping is not None and metric is not None:
            position.best.update(stopping, task, position.epoch, metric, self._network)
        rate = self._optimizer.param_groups[0]["lr"]
        record = Epoch(position.epoch, loss / examples, metric, rate, time.monotonic() - self._started)
        position.history.append(record)
        publish(record)
        bar.epoch(record)
        if self._slot is not None:
            self._save()

    def _due(self) -> bool:
        if self._slot is None:
            return False
        if self._processes.count == 1:
            return self._slot.due(self._position.step)
        if self._position.step % _AGREE_EVERY:
            return False
        return bool(self._processes.from_main(self._slot.due(self._position.step)))

    def _save(self) -> None:
        self._read_losses()  # never save a training that has diverged
        position = self._position
        # In the middle of an epoch every process has running statistics and a loss of its own.
        mine = {"random": random_state(), "buffers": averaged_buffers(self._network)}
        own = self._processes.gather({**mine, "loss": position.loss, "examples": position.examples})
        if self._slot is None or not self._processes.is_main:
            return
        flat = {f.name: getattr(position, f.name) for f in dataclasses.fields(position)}
        flat["history"] = [dataclasses.astuple(epoch) for epoch in position.history]
        flat["best"] = {f.name: getattr(position.best, f.name) for f in dataclasses.fields(Best)}
        self._slot.save(
            {
                "fingerprint": self._fingerprint,
                "position": flat,
                "network": self._network.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "scaler": self._scaler.state_dict() if self._scaler is not None else None,
                "own": own,
            }
        )

    def _resume(self) -> dict[str, Any] | None:
        """Continue from the checkpoint. Returns the random state of an epoch that was interrupted."""
        state = self._slot.load(self._fingerprint) if self._slot is not None else None
        self._processes.accelerator.wait_for_everyone()  # the main process must not write while another reads
        if state is None:
            return None
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        values = state["position"]
        history = [Epoch(*epoch) for epoch in values["history"]]
        self._position = Position(**{**values, "history": history, "best": Best(**values["best"])})
        for epoch in history:
            publish(epoch)
        own: dict[str, Any] = state["own"][self._processes.rank]
        self._position.loss, self._position.examples = own["loss"], own["examples"]
        with torch.no_grad():
            for name, buffer in averaged_buffers(self._network).items():
                buffer.copy_(own["buffers"][name])
        return own["random"] if self._position.step else None

    def _identify(self) -> Mapping[str, Any]:
        # An object without a repr of its own shows its address, which differs in every process.
        plan = re.sub(r" at 0x[0-9a-f]+", "", repr(self._plan))
        return {
            "pass": plan,
            "network": digest(self._network),
            "number of batches per epoch": self._steps,
            "number of processes": self._processes.count,
        }


def count_batches(task: Task) -> int:
    """Batches in an epoch, which schedules need: ``len(loader)``, or counted by running through it once."""
    loader: Any = task.train
    try:
        return len(loader)
    except TypeError:  # no length, or a DataLoader over a dataset without one
        pass
    count = sum(1 for _ in training_batches(task))
    note(
        "Finetune", f"the training loader does not tell its length; one pass over it counted {count} batches"
    )
    return count
