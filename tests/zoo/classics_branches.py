"""Classics in plain torch, small, in which channels part and are joined again: concatenated, shuffled, split."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from classics_parts import Head, conv_bn
from torch import Tensor, nn


class VGG(nn.Module):
    """Convolutions, then linear layers on flattened positions (Simonyan, Zisserman 2014)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in (8, "M", 16, "M", 16, 24, "M"):
            if width == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(
            nn.Linear(inputs * 4, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class DenseNet(nn.Module):
    """Everything before is concatenated (Huang et al. 2016)."""

    def __init__(self, growth: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        width, blocks = 12, []
        for _ in range(2):
            block = []
            for _ in range(3):
                block.append(
                    nn.Sequential(
                        nn.BatchNorm2d(width),
                        nn.ReLU(),
                        nn.Conv2d(width, 4 * growth, 1, bias=False),
                        nn.BatchNorm2d(4 * growth),
                        nn.ReLU(),
                        nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
                    )
                )
                width += growth
            blocks.append(nn.ModuleList(block))
            blocks.append(
                nn.Sequential(
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                    nn.Conv2d(width, width // 2, 1, bias=False),
                    nn.AvgPool2d(2),
                )
            )
            width //= 2
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.BatchNorm2d(width)
        self.head = Head(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            if isinstance(block, nn.ModuleList):
                for layer in block:
                    x = torch.cat([x, layer(x)], 1)
            else:
                x = block(x)
        return self.head(F.relu(self.norm(x)))


class Inception(nn.Module):
    """Four branches side by side (Szegedy et al. 2014)."""

    def __init__(self, inputs: int, a: int, b: tuple[int, int], c: tuple[int, int], d: int) -> None:
        super().__init__()
        self.a = conv_bn(inputs, a, 1)
        self.b = nn.Sequential(conv_bn(inputs, b[0], 1), conv_bn(b[0], b[1], 3))
        self.c = nn.Sequential(conv_bn(inputs, c[0], 1), conv_bn(c[0], c[1], 5))
        self.d = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(inputs, d, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b(x), self.c(x), self.d(x)], 1)


class GoogLeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 8, 7, 2), nn.LocalResponseNorm(5))
        self.one = Inception(8, 4, (6, 8), (2, 4), 4)
        self.two = Inception(20, 8, (8, 12), (4, 6), 6)
        self.head = Head(32)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.two(F.max_pool2d(self.one(self.stem(x)), 2)), 0.2, self.training))


class InceptionV3(nn.Module):
    """Factorized 7x7 and strided reductions (Szegedy et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2)
        self.one = conv_bn(8, 8, 1)
        self.row = nn.Conv2d(8, 8, (1, 7), padding=(0, 3))
        self.column = nn.Conv2d(8, 12, (7, 1), padding=(3, 0))
        self.pool = conv_bn(8, 4, 1)
        self.down = nn.Conv2d(24, 12, 3, 2)
        self.left, self.right = (
            nn.Conv2d(12, 8, (1, 3), padding=(0, 1)),
            nn.Conv2d(12, 8, (3, 1), padding=(1, 0)),
        )
        self.head = Head(16 + 24)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([self.one(x), self.column(self.row(x)), self.pool(F.avg_pool2d(x, 3, 1, 1))], 1)
        down = F.relu(self.down(x))
        return self.head(torch.cat([self.left(down), self.right(down), F.max_pool2d(x, 3, 2)], 1))


class SqueezeNet(nn.Module):
    """Fire modules; the last convolution makes the classes (Iandola et al. 2016)."""

    class Fire(nn.Module):
        def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
            super().__init__()
            self.squeeze = nn.Conv2d(inputs, squeeze, 1)
            self.one, self.three = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.squeeze(x))
            return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, 2)
        self.fires = nn.Sequential(
            self.Fire(12, 4, 8), self.Fire(16, 4, 8), nn.MaxPool2d(2), self.Fire(16, 6, 12)
        )
        self.last = nn.Conv2d(24, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.last(self.fires(F.relu(self.stem(x))))).mean((2, 3))


def shuffled(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


class ShuffleNet(nn.Module):
    """Grouped 1x1 convolutions and a shuffle between them (Zhang et al. 2017)."""

    class Unit(nn.Module):
        def __init__(self, width: int, groups: int) -> None:
            super().__init__()
            self.groups = groups
            self.reduce = conv_bn(width, width // 2, 1, groups=groups)
            self.depth = conv_bn(width // 2, width // 2, 3, groups=width // 2, act=False)
            self.expand = conv_bn(width // 2, width, 1, groups=groups, act=False)

        def forward(self, x: Tensor) -> Tensor:
            y = self.expand(self.depth(shuffled(self.reduce(x), self.groups)))
            return F.relu(x + y)

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 24, 3, 2)
        self.units = nn.Sequential(self.Unit(24, 2), self.Unit(24, 3))
        self.head = Head(24)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.units(self.stem(x)))


class ShuffleNetV2(nn.Module):
    """Half of the channels pass by; concatenation and shuffle (Ma et al. 2018)."""

    class Unit(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            half = width // 2
            self.branch = nn.Sequential(
                conv_bn(half, half, 1), conv_bn(half, half, 3, groups=half, act=False), conv_bn(half, half, 1)
            )

        def forward(self, x: Tensor) -> Tensor:
            first, second = x.chunk(2, dim=1)
            return shuffled(torch.cat([first, self.branch(second)], 1), 2)

    class Down(nn.Module):
        def __init__(self, inputs: int, width: int) -> None:
            super().__init__()
            half = width // 2
            self.left = nn.Sequential(
                conv_bn(inputs, inputs, 3, 2, inputs, act=False), conv_bn(inputs, half, 1)
            )
            self.right = nn.Sequential(
                conv_bn(inputs, half, 1), conv_bn(half, half, 3, 2, half, act=False), conv_bn(half, half, 1)
            )

        def forward(self, x: Tensor) -> Tensor:
            return shuffled(torch.cat([self.left(x), self.right(x)], 1), 2)

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            conv_bn(3, 8), self.Down(8, 16), self.Unit(16), self.Unit(16), conv_bn(16, 24, 1)
        )
        self.head = Head(24)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x))


class Res2Net(nn.Module):
    """Channels split into scales, each of which sees the one before (Gao et al. 2019)."""

    class Block(nn.Module):
        def __init__(self, width: int, scales: int = 4) -> None:
            super().__init__()
            self.each = width // scales
            self.reduce = conv_bn(width, width, 1)
            self.convs = nn.ModuleList(conv_bn(self.each, self.each) for _ in range(scales - 1))
            self.expand = conv_bn(width, width, 1, act=False)

        def forward(self, x: Tensor) -> Tensor:
            parts = torch.split(self.reduce(x), self.each, 1)
            made = [parts[0]]
            for conv, part in zip(self.convs, parts[1:], strict=True):
                made.append(conv(part if len(made) == 1 else part + made[-1]))
            return F.relu(self.expand(torch.cat(made, 1)) + x)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = conv_bn(3, 16), self.Block(16), Head(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.stem(x)))


class HRNet(nn.Module):
    """Two resolutions that exchange (Wang et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.low = conv_bn(3, 8), conv_bn(8, 16, 3, 2)
        self.high_block, self.low_block = conv_bn(8, 8), conv_bn(16, 16)
        self.up, self.down = conv_bn(16, 8, 1, act=False), conv_bn(8, 16, 3, 2, act=False)
        self.last = nn.Conv2d(24, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.stem(x)
        low = self.low_block(self.low(high))
        high = self.high_block(high)
        up = F.interpolate(self.up(low), size=high.shape[2:], mode="bilinear", align_corners=False)
        high, low = F.relu(high + up), F.relu(low + self.down(high))
        return self.last(torch.cat([high, F.interpolate(low, scale_factor=2, mode="nearest")], 1))


class UNet(nn.Module):
    """Transposed convolutions and skip connections by concatenation (Ronneberger et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = conv_bn(3, 8), conv_bn(8, 16), conv_bn(16, 32)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.back2, self.back1 = conv_bn(32, 16), conv_bn(16, 8)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        three = self.three(F.max_pool2d(two, 2))
        x = self.back2(torch.cat([self.up2(three), two], 1))
        return torch.sigmoid(self.last(self.back1(torch.cat([self.up1(x), one], 1))))


class C2f(nn.Module):
    """YOLOv8: chunks, bottlenecks, everything concatenated; two heads at two scales."""

    class Module(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.half = outputs // 2
            self.first = conv_bn(inputs, outputs, 1)
            self.blocks = nn.ModuleList(
                nn.Sequential(conv_bn(self.half, self.half), conv_bn(self.half, self.half)) for _ in range(2)
            )
            self.last = conv_bn(4 * self.half, outputs, 1)

        def forward(self, x: Tensor) -> Tensor:
            parts = list(self.first(x).chunk(2, 1))
            for block in self.blocks:
                parts.append(parts[-1] + block(parts[-1]))
            return self.last(torch.cat(parts, 1))

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2)
        self.one, self.down, self.two = self.Module(8, 16), conv_bn(16, 16, 3, 2), self.Module(16, 16)
        self.pool = nn.Sequential(conv_bn(16, 8, 1))
        self.spread = conv_bn(32, 16, 1)
        self.fuse = self.Module(32, 16)
        self.heads = nn.ModuleList(nn.Conv2d(16, 6, 1) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one = self.one(self.stem(x))
        two = self.pool(self.two(self.down(one)))
        pooled = [two]
        for _ in range(3):
            pooled.append(F.max_pool2d(pooled[-1], 5, 1, 2))
        two = self.spread(torch.cat(pooled, 1))
        fused = self.fuse(torch.cat([F.interpolate(two, scale_factor=2.0), one], 1))
        return self.heads[0](fused), self.heads[1](two).flatten(2)
