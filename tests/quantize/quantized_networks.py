"""Networks that quantization meets: every pattern of placement once, small."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def unit(
    inputs: int, outputs: int, stride: int = 1, groups: int = 1, act: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), act())


class Residual(nn.Module):
    """A stem, a residual block with another reader of its input, a strided one with a shortcut, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 8)
        self.first = nn.Sequential(unit(8, 8), nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.second = nn.Sequential(
            unit(8, 16, 2), nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        )
        self.shortcut = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(self.first(x) + x)
        x = F.relu(self.second(x) + self.shortcut(x))
        return self.fc(F.dropout(x.mean((2, 3)), 0.1, self.training))


class Inverted(nn.Module):
    """Depthwise convolutions, ReLU6, padding of its own, a linear bottleneck, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.up = nn.Sequential(nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6())
        self.depthwise = unit(24, 24, groups=24, act=nn.ReLU6)
        self.down = nn.Sequential(nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.down(self.depthwise(self.up(x))))


class Branches(nn.Module):
    """Concatenation of convolutions and of what others read too, both pools, functions that need a table."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.c = nn.Conv2d(12, 12, 3, padding=1)
        self.gate = nn.Conv2d(12, 12, 1)
        self.d = nn.Conv2d(24, 6, 1)
        self.fc = nn.Linear(6 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([F.relu(self.a(x)), torch.tanh(self.b(x))], 1)
        x = F.max_pool2d(x, 2)
        y = F.hardswish(self.c(x))
        y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        x = F.avg_pool2d(torch.cat([x, y], 1), 2)
        return self.fc(F.leaky_relu(self.d(x), 0.1).flatten(1))


class Parted(nn.Module):
    """Channels that are split, sliced, joined again and shuffled, as in ShuffleNet and in YOLO's blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = unit(3, 12), unit(6, 6), unit(6, 6)
        self.mix, self.grouped = nn.Conv2d(24, 12, 1), nn.Conv2d(12, 12, 1, groups=2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.stem(x).chunk(2, 1))
        parts.append(self.first(parts[-1]))
        parts.append(self.second(parts[-1]))
        x = self.mix(torch.cat(parts, 1))
        a, b = x.split([4, 8], 1)
        x = torch.cat([F.relu(a), b], 1)
        x = x.view(-1, 3, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)
        return self.fc(self.grouped(x)[:, 2:10].mean((2, 3)))


class Block(nn.Module):
    """A transformer's: normalizations, attention and the residual stream stay float."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 16)
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.q, self.k, self.v, self.out = (nn.Linear(16, 16) for _ in range(4))
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        y = self.norm1(x)
        q, k, v = self.q(y), self.k(y), self.v(y)
        x = x + self.out(F.dropout(F.softmax(q @ k.transpose(1, 2) / 4, -1), 0.1, self.training) @ v)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Recurrent(nn.Module):
    """An LSTM between linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.lstm, self.last = nn.Linear(6, 8), nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.lstm(torch.tanh(self.first(x)))[0]))


class Signal(nn.Module):
    """Convolutions in one dimension, a transposed one, a product written with ``@``."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv1d(2, 8, 5, 2, 2)
        self.up = nn.ConvTranspose1d(8, 4, 4, 2, 1)
        self.matrix = nn.Parameter(torch.randn(4 * 16, 3) / 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(F.relu(self.down(x))).flatten(1) @ self.matrix


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 16, 16)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "residual": (Residual, images),
    "inverted": (Inverted, images),
    "branches": (Branches, images),
    "parted": (Parted, images),
    "transformer": (Block, lambda count: torch.randint(0, 50, (count, 7))),
    "recurrent": (Recurrent, lambda count: torch.randn(count, 5, 6)),
    "signal": (Signal, lambda count: torch.randn(count, 2, 16)),
}


def trained(name: str) -> tuple[nn.Module, Callable[[int], Tensor]]:
    """A network in eval mode whose batch norms have seen data, some channels turned and one almost dead."""
    torch.manual_seed(3)
    build, inputs = NETWORKS[name]
    network = build()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            with torch.no_grad():
                module.weight[0] *= -1
                module.weight[1] = 1e-12
    for _ in range(40):  # until the running averages have arrived
        network(inputs(16))
    return network.eval(), inputs
