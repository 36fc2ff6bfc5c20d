"""Quantization-aware training: Finetune behind Quantize."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from quantized_networks import Residual

import gossamer as gs
from gossamer.graph import from_state, to_state
from gossamer.onnx import lower
from gossamer.quantize import Fixed, FreezeBatchNorm, Int, Learned, Quantize, Tracked
from gossamer.quantize.activations import quantizers
from gossamer.train import Adam, checkpointing


def make_task(count=256):
    generator = torch.Generator().manual_seed(5)
    y = torch.randint(5, (count,), generator=generator)
    patterns = torch.randn(5, 3, 12, 12, generator=generator)
    x = patterns[y] + torch.randn(count, 3, 12, 12, generator=generator)
    batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, count, 32)]
    return gs.Task(train=batches, valid=batches, loss=F.cross_entropy, metric=gs.metrics.accuracy)


@pytest.fixture(scope="module")
def ready():
    """A network that has learned its task, and the task."""
    torch.manual_seed(1)
    task = make_task()
    graph = gs.trace(Residual(), task.train[0][0])
    return gs.Finetune(epochs=6, optimizer=Adam(lr=3e-3))(graph, task), task


def loss(graph, task):
    graph = copy.deepcopy(graph).eval()
    with torch.no_grad():
        return float(torch.stack([task.loss(graph(x), y) for x, y in task.valid]).mean())


@pytest.mark.parametrize("training", [Tracked(), Tracked(delay=4), Learned(), Fixed()], ids=str)
def test_training_recovers_what_few_bits_lose(ready, training):
    graph, task = ready
    coarse = Quantize(weights=Int(2), activations=Int(4), training=training)(graph, task)
    tuned = gs.Finetune(epochs=6, optimizer=Adam(lr=3e-3))(coarse, task)
    assert loss(tuned, task) < 0.6 * loss(coarse, task)
    x = task.valid[0][0]
    shipped = torch.from_numpy(gs.Engine(lower(tuned))(x.numpy()))
    simulated = copy.deepcopy(tuned).eval()(x).detach()
    assert float((shipped - simulated).abs().median()) < 1e-4 * float(simulated.abs().max())
    again = from_state(to_state(tuned))
    assert torch.equal(again.eval()(x), copy.deepcopy(tuned).eval()(x))


def test_ranges_follow_the_data_and_learned_scales_learn(ready):
    graph, task = ready
    tracked = Quantize(training=Tracked(momentum=0.5))(graph, task)
    scales = {q.scale: float(tracked.get_buffer(q.scale)) for q in quantizers(tracked)}
    louder = gs.Task(train=[(3 * x, y) for x, y in task.train], loss=task.loss)
    after = gs.Finetune(epochs=1, optimizer=Adam(lr=1e-9))(tracked, louder)
    first = next(quantizers(after)).scale
    assert float(after.get_buffer(first)) == pytest.approx(3 * scales[first], rel=0.2)
    learned = Quantize(weights=Int(4), activations=Int(4), training=Learned())(graph, task)
    moved = gs.Finetune(epochs=1)(learned, task)
    names = [name for name, _ in learned.named_parameters() if name.endswith(("scale", "0.scale"))]
    assert len(names) > 10
    changed = [n for n in names if not torch.equal(learned.get_parameter(n), moved.get_parameter(n))]
    assert len(changed) == len(names)


def test_delay_leaves_activations_alone_at_first(ready):
    graph, task = ready
    late = Quantize(weights=Int(8), activations=Int(2), training=Tracked(delay=2))(graph, task).train()
    x = task.train[0][0]
    plain, _, third = (late(x).detach() for _ in range(3))
    assert float((plain - third).abs().max()) > 0.1 * float(plain.abs().max())


def test_frozen_batch_norms_keep_their_statistics(ready):
    graph, task = ready
    aware = Quantize()(graph, task)
    frozen = gs.Finetune(epochs=1)(FreezeBatchNorm()(aware, task), task)
    free = gs.Finetune(epochs=1)(aware, task)
    mean = "stem.1.running_mean"
    assert torch.equal(frozen.get_buffer(mean), aware.get_buffer(mean))
    assert not torch.equal(free.get_buffer(mean), aware.get_buffer(mean))
    assert "batch_norm" in frozen.code
    assert not [o for o in lower(frozen).operations if o.op == "BatchNormalization"]


def test_the_gradient_stops_where_a_value_saturates():
    x = torch.tensor([-9.0, -0.3, 0.2, 0.7, 9.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    zero = torch.tensor(4, dtype=torch.int32)
    y = torch.ops.gossamer.fake_quantize(x, scale, zero, 0, 15)
    assert y.tolist() == [-2.0, -0.5, 0.0, 0.5, 5.5]
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    # LSQ, equation 3: the bound where it saturates, round(v) - v inside.
    assert float(scale.grad) == pytest.approx(-4 + 11 + (-1 + 0.6) + (0 - 0.4) + (1 - 1.4))


def test_a_killed_training_goes_on_to_the_same_bytes(ready, tmp_path):
    graph, task = ready
    aware = Quantize(weights=Int(4), activations=Int(4))(graph, task)
    plan = gs.Finetune(epochs=2)
    whole = plan(aware, task)

    class KilledError(Exception):
        pass

    class Dies(list):
        steps = 0

        def __iter__(self):
            for batch in super().__iter__():
                Dies.steps += 1
                if Dies.steps == 14:
                    raise KilledError
                yield batch

    with checkpointing(tmp_path, "qat"), pytest.raises(KilledError):
        plan(aware, gs.Task(train=Dies(task.train), loss=task.loss))
    with checkpointing(tmp_path, "qat"):
        resumed = plan(aware, gs.Task(train=task.train, loss=task.loss))
    for name, value in (
        gs.Finetune(epochs=2)(aware, gs.Task(train=task.train, loss=task.loss)).state_dict().items()
    ):
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert whole.state_dict().keys() == resumed.state_dict().keys()


@pytest.mark.slow
def test_two_processes_have_the_same_ranges(tmp_path):
    script = Path(__file__).with_name("two_quantized_processes.py")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        str(script),
        str(tmp_path),
    ]
    # As users start it: nothing in the environment says that there is no GPU.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE_")}
    environment |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    statistics = {name for name in first if "running_" in name}
    factors = {name for name in first if name.endswith(".factor")}
    assert first.keys() == second.keys() and len(statistics) == 4 and len(factors) == 1
    for name in first.keys() - statistics:
        assert torch.equal(first[name], second[name]), name
    assert not any(torch.equal(first[name], second[name]) for name in statistics)
