"""Run by torchrun: every process trains its share, and writes down the ranges that it has."""

import os
import sys

import torch
from test_aware_training import make_task

import gossamer as gs
from gossamer.quantize import Int, Quantize, Tracked
from gossamer.quantize.activations import is_quantizers

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
aware = Quantize(weights=Int(4), activations=Int(4), training=Tracked(momentum=0.9))(graph, task)
tuned = gs.Finetune(epochs=2)(aware, task)
ranges = {name: value for name, value in tuned.state_dict().items() if is_quantizers(name)}
torch.save(ranges | dict(tuned.named_parameters()), f"{sys.argv[1]}/{os.environ['RANK']}.pt")
