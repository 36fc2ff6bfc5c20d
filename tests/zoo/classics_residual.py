"""Classics in plain torch, small: residual sums, other norms, images out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from classics_parts import Head, SqueezeExcite, conv_bn
from torch import Tensor, nn


class MobileNetV3(nn.Module):
    """Inverted residuals, squeeze-excite, hard swish (Howard et al. 2019)."""

    class Block(nn.Module):
        def __init__(self, width: int, expanded: int) -> None:
            super().__init__()
            self.expand = nn.Sequential(conv_bn(width, expanded, 1, act=False), nn.Hardswish())
            self.depth = conv_bn(expanded, expanded, 5, groups=expanded, act=False)
            self.excite = SqueezeExcite(expanded, 8)
            self.project = conv_bn(expanded, width, 1, act=False)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.project(F.hardswish(self.excite(self.depth(self.expand(x)))))

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(conv_bn(3, 16, 3, 2), self.Block(16, 32), self.Block(16, 24))
        self.head = nn.Sequential(nn.Linear(16, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x).mean([2, 3]))


class ResNet(nn.Module):
    """Bottlenecks; with ``groups`` ResNeXt, with ``excite`` SE-ResNet (He et al. 2015; Xie et al. 2016)."""

    class Block(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int, groups: int, excite: bool) -> None:
            super().__init__()
            self.one, self.two = conv_bn(inputs, width, 1), conv_bn(width, width, 3, stride, groups)
            self.three = conv_bn(width, 4 * width, 1, act=False)
            self.excite = SqueezeExcite(4 * width, 4) if excite else nn.Identity()
            self.shortcut = nn.Identity()
            if stride > 1 or inputs != 4 * width:
                self.shortcut = conv_bn(inputs, 4 * width, 1, stride, act=False)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.excite(self.three(self.two(self.one(x)))) + self.shortcut(x))

    def __init__(
        self, width: int = 8, depths: tuple[int, ...] = (1, 2), groups: int = 1, excite: bool = False
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, width, 7, 2), nn.MaxPool2d(3, 2, 1))
        inputs, blocks = width, []
        for stage, depth in enumerate(depths):
            for place in range(depth):
                stride = 2 if stage and not place else 1
                blocks.append(self.Block(inputs, width << stage, stride, groups, excite))
                inputs = 4 * (width << stage)
        self.blocks = nn.Sequential(*blocks)
        self.head = Head(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


def resnet_50() -> nn.Module:
    """The real one: 25.6 million parameters."""
    net = ResNet(64, (3, 4, 6, 3))
    net.head = Head(2048, 1000)
    return net


class CifarResNet(nn.Module):
    """Shortcuts of type A: every second position, padded with zero channels (He et al. 2015, section 4.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.one, self.two = conv_bn(8, 16, 3, 2), conv_bn(16, 16, 3, 1, act=False)
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        return self.head(F.relu(self.two(self.one(x)) + shortcut))


class GroupNormNet(nn.Module):
    """Group, layer and instance norm, weight standardization (Wu, He 2018; Qiao et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16)
        self.mid, self.inst = nn.Conv2d(16, 24, 3), nn.InstanceNorm2d(24, affine=True)
        self.layer, self.one = nn.LayerNorm(24), nn.GroupNorm(1, 24)
        self.head = Head(24)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(self.inst(self.mid(x)))
        x = self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.head(self.one(x))


class StandardizedNet(nn.Module):
    """Convolutions whose weights are standardized before use: computed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.normed = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(12, 8, 1))
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.one(x))
        weight = self.two.weight
        weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / (
            weight.std((1, 2, 3), keepdim=True) + 1e-5
        )
        return self.head(self.normed(F.relu(F.conv2d(x, weight, self.two.bias, padding=1))))


class SuperResolution(nn.Module):
    """Pixel shuffle up and down (Shi et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(12, 16, 3, padding=1)
        self.up = nn.Conv2d(16, 8 * 4, 3, padding=1)
        self.mid = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 3 * 4, 3, padding=1)
        self.slope = nn.PReLU(8)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(F.pixel_unshuffle(x, 2)))
        x = self.mid(self.slope(F.pixel_shuffle(self.up(x), 2)))
        return F.pixel_shuffle(self.last(x), 2)


class Autoencoder(nn.Module):
    """A bottleneck, two heads of it, and transposed convolutions, some grouped (Kingma, Welling 2013)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU())
        self.mean, self.spread = nn.Linear(16 * 49, 6), nn.Linear(16 * 49, 6)
        self.back = nn.Linear(6, 16 * 49)
        self.up1 = nn.ConvTranspose2d(16, 12, 4, 2, 1, groups=4)
        self.up2 = nn.ConvTranspose2d(12, 1, 4, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.down(x).flatten(1)
        mean, spread = self.mean(hidden), self.spread(hidden)
        x = F.leaky_relu(self.back(mean * torch.exp(0.5 * spread))).view(-1, 16, 7, 7)
        return torch.sigmoid(self.up2(F.relu(self.up1(x)))), mean
