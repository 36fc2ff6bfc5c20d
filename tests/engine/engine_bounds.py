"""The bounds of docs/numerics.md, section 5, propagated through a torch module in double precision."""

from __future__ import annotations

from typing import NamedTuple

import torch
from fft_oracle import fft_magnitude, fft_roundings
from torch import nn
from torch.nn import functional
from winograd_oracle import MATRICES, ROUNDINGS, winograd

UNIT = 2.0**-24


def gamma(count: float) -> float:
    """Equation (1)."""
    return count * UNIT / (1 - count * UNIT)


class Tracked(NamedTuple):
    """An exact value (double); what the engine's may be off at most (5); the variance of that under model (7)."""

    value: torch.Tensor
    bound: torch.Tensor
    variance: torch.Tensor


class Residual(nn.Module):
    """relu(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def exact_input(x: torch.Tensor) -> Tracked:
    return Tracked(x.double(), torch.zeros_like(x.double()), torch.zeros_like(x.double()))


def track(module: nn.Module, x: Tracked) -> Tracked:
    if isinstance(module, nn.Sequential):
        return _sequential(list(module), x)
    if isinstance(module, Residual):
        return _residual(track(module.body, x), track(module.shortcut, x))
    if isinstance(module, nn.Conv2d | nn.Linear):
        bias = None if module.bias is None else module.bias.double()
        return _affine(module, module.weight.double(), bias, x, 2)
    if isinstance(module, nn.ReLU | nn.Identity):
        return x._replace(value=module(x.value))
    if isinstance(module, nn.Flatten | nn.MaxPool2d):
        return Tracked(*(module(part) for part in x))
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return _mean(module, x)
    raise TypeError(type(module).__name__)


def _sequential(modules: list[nn.Module], x: Tracked) -> Tracked:
    while modules:
        first, *modules = modules
        if isinstance(first, nn.Conv2d) and modules and isinstance(modules[0], nn.BatchNorm2d):
            x = _folded(first, modules.pop(0), x)
        else:
            x = track(first, x)
    return x


def _residual(a: Tracked, b: Tracked) -> Tracked:
    magnitude = a.value.abs() + b.value.abs() + a.bound + b.bound
    return Tracked(
        torch.relu(a.value + b.value), a.bound + b.bound + gamma(2) * magnitude,
        a.variance + b.variance + (UNIT * magnitude) ** 2,
    )  # fmt: skip


def _affine(
    module: nn.Module, weight: torch.Tensor, bias: torch.Tensor | None, x: Tracked, extra: int
) -> Tracked:
    """Equations (5), (7), (12) and (18), of whichever way of computing it errs the most."""

    def apply(w, b, v):
        if isinstance(module, nn.Linear):
            return functional.linear(v, w, b)
        return functional.conv2d(v, w, b, module.stride, module.padding, module.dilation, module.groups)

    absolute = None if bias is None else bias.abs()
    ways = [(weight[0].numel() + extra, lambda v: apply(weight.abs(), absolute, v))]
    if _winograd_fits(module):
        ways += [
            (weight.shape[1] + ROUNDINGS + extra, _winograd(module, weight, absolute, m)) for m in MATRICES
        ]
    if isinstance(module, nn.Conv2d) and module.stride == (1, 1) and weight[0, 0].numel() >= 16:
        ways.append((fft_roundings(weight.shape[1]) + extra, _fourier(module, weight, absolute)))
    rounding = [gamma(count) * magnitude(x.value.abs() + x.bound) for count, magnitude in ways]
    noise = [count / 3 * (UNIT * magnitude(x.value.abs())) ** 2 for count, magnitude in ways]
    return Tracked(
        apply(weight, bias, x.value),
        apply(weight.abs(), None, x.bound) + torch.stack(rounding).amax(0),
        apply(weight**2, None, x.variance) + torch.stack(noise).amax(0),
    )


def _winograd_fits(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d):
        return False
    return module.kernel_size == (3, 3) and module.stride == module.dilation == (1, 1) and module.groups == 1


def _winograd(module: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor | None, m: int):
    """Magnitudes as in equation (12), for tiles of m x m outputs."""
    top, left = module.padding

    def magnitude(v: torch.Tensor) -> torch.Tensor:
        terms = winograd(v.numpy(), weight.numpy(), m, (top, left, top, left), absolute=True)
        return torch.from_numpy(terms) + (0 if bias is None else bias.view(-1, 1, 1))

    return magnitude


def _fourier(module: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor | None):
    """Magnitudes as in equation (18)."""

    def magnitude(v: torch.Tensor) -> torch.Tensor:
        terms = torch.from_numpy(fft_magnitude(v.numpy(), weight.numpy(), module.groups))
        shape = functional.conv2d(
            v[:1], weight, None, module.stride, module.padding, module.dilation, module.groups
        ).shape
        return (terms + (0 if bias is None else bias.view(-1, 1, 1))).expand(-1, -1, *shape[2:])

    return magnitude


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tracked) -> Tracked:
    """Equation (6): two roundings more for weights and bias that were scaled."""
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return _affine(conv, conv.weight.double() * scale.view(-1, 1, 1, 1), bias, x, 4)


def _mean(module: nn.Module, x: Tracked) -> Tracked:
    count = x.value.shape[2] * x.value.shape[3]
    magnitude = module(x.value.abs() + x.bound)
    return Tracked(
        module(x.value), module(x.bound) + gamma(count + 1) * magnitude,
        module(x.variance) / count + (count + 1) / 3 * (UNIT * magnitude) ** 2,
    )  # fmt: skip
