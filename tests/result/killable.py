"""A recipe in a process of its own, which kills itself with SIGKILL after a given number of training steps.

python killable.py CHECKPOINT_FOLDER OUTPUT.goss [STEPS]
"""

import os
import signal
import sys

import torch
import torch.nn.functional as F
from torch import nn

import gossamer as gs

steps_left = int(sys.argv[3]) if len(sys.argv) > 3 else -1


def loss(outputs, targets):
    global steps_left
    if torch.is_grad_enabled():
        if steps_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        steps_left -= 1
    return F.cross_entropy(outputs, targets)


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(12, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 4))


def main():
    inputs = torch.randn(160, 12, generator=torch.Generator().manual_seed(5))
    data = torch.utils.data.TensorDataset(inputs, inputs[:, :4].argmax(1))
    task = gs.Task(
        train=torch.utils.data.DataLoader(data, batch_size=32, shuffle=True),
        valid=torch.utils.data.DataLoader(data, batch_size=80),
        loss=loss,
        metric=gs.metrics.accuracy,
    )
    recipe = [
        gs.Repeat(2, [gs.Prune(0.7), gs.Finetune(epochs=2)]),
        gs.Cluster(bits=3),
        gs.Finetune(epochs=1),
    ]
    gs.compress(network(), task, recipe, checkpoint=sys.argv[1]).save(sys.argv[2])


if __name__ == "__main__":
    main()
