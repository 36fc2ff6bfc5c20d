"""Run by torchrun: every process trains its share, and writes down what it has then."""

import os
import sys

import torch
from test_aware_training import make_task

import gossamer as gs
from gossamer.quantize import Int, PerChannel, PerTensor, Quantize, Tracked
from gossamer.quantize.activations import is_quantizers
from gossamer.train.processes import Processes

sys.path.insert(0, os.path.dirname(__file__))

torch.set_num_threads(1)
torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3),
    torch.nn.BatchNorm2d(8),
    torch.nn.ReLU(),
    torch.nn.Flatten(),
    torch.nn.Linear(800, 5),
)
task = make_task(128)
graph = gs.trace(network, task.train[0][0])
unwatched = gs.Task(train=task.train, loss=task.loss)  # scored, each process would use its own statistics
# What is left must be the same without the averaging after each epoch: it is the same at every step.
Processes.average_buffers = lambda self, network: None
kept = {}
for granularity in (PerChannel(), PerTensor()):
    weights = Int(4, granularity)
    aware = Quantize(weights=weights, activations=Int(4), training=Tracked(momentum=0.9))(graph, task)
    state = gs.Finetune(epochs=2)(aware, unwatched).state_dict()
    kept |= {f"{granularity} {name}": value for name, value in state.items()}
    assert any(is_quantizers(name) for name in state)
torch.save(kept, f"{sys.argv[1]}/{os.environ['RANK']}.pt")
