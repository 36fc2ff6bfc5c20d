"""What the tests of criteria compute themselves: a network, its loss as a function of one vector, derivatives."""

import torch
import torch.nn.functional as F
from torch import nn

NAMES = ("fc1.weight", "fc2.weight")


class Net(nn.Module):
    """Curved, so that second derivatives are there."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 5)
        self.fc2 = nn.Linear(5, 3)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


def weights(net):
    return {name: dict(net.named_parameters())[name].detach() for name in NAMES}


def loss_of_vector(net, inputs, targets, temperature=1.0):
    """The loss as a function of both weights as one vector."""
    before = weights(net)

    def loss(vector):
        parts = torch.split(vector, [value.numel() for value in before.values()])
        shaped = {n: p.view(before[n].shape) for n, p in zip(before, parts, strict=True)}
        hidden = torch.tanh(F.linear(inputs, shaped["fc1.weight"], net.fc1.bias))
        outputs = F.linear(hidden, shaped["fc2.weight"], net.fc2.bias)
        return F.cross_entropy(outputs / temperature, targets)

    return loss, torch.cat([value.flatten() for value in before.values()])


def flat(scores):
    return torch.cat([scores[name].flatten() for name in NAMES])


def gradient_and_hessian(net, batch, temperature=1.0):
    loss, at = loss_of_vector(net, *batch, temperature)
    return gradient(loss, at), torch.autograd.functional.hessian(loss, at), at


def gradient(loss, at):
    at = at.clone().requires_grad_()
    return torch.autograd.grad(loss(at), at)[0]


def everything(batches):
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))


def close(ours, theirs, tolerance=1e-9):
    assert torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max()))
