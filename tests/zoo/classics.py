"""The classics in plain torch, small: every way in which channels of vision, text and audio networks are joined."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Module:
    parts = [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if act else []))


class Head(nn.Module):
    """Mean over positions and a linear layer."""

    def __init__(self, width: int, classes: int = 5) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


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


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, reduced, 1), nn.Conv2d(reduced, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


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


class MLPMixer(nn.Module):
    """Mixing of positions and of channels by transposition (Tolstikhin et al. 2021)."""

    class Block(nn.Module):
        def __init__(self, tokens: int, width: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.tokens = nn.Sequential(nn.Linear(tokens, 10), nn.GELU(), nn.Linear(10, tokens))
            self.channels = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
            return x + self.channels(self.norm2(x))

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.blocks = nn.Sequential(self.Block(16, 16), self.Block(16, 16))
        self.norm, self.fc = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.blocks(self.patch(x).flatten(2).transpose(1, 2))).mean(1))


class Tagger(nn.Module):
    """Embeddings of words and features, a recurrent network both ways, a tag for every word."""

    def __init__(self, kind: str = "LSTM", layers: int = 2) -> None:
        super().__init__()
        self.words, self.cases = nn.Embedding(40, 12), nn.Embedding(5, 4)
        self.rnn = getattr(nn, kind)(16, 10, layers, batch_first=True, bidirectional=True, dropout=0.1)
        self.mid, self.out = nn.Linear(20, 12), nn.Linear(12, 7)

    def forward(self, words: Tensor, cases: Tensor) -> Tensor:
        x = torch.cat([self.words(words), self.cases(cases)], -1)
        return self.out(torch.tanh(self.mid(self.rnn(x)[0])))


class Cells(nn.Module):
    """An LSTM cell written by hand over a few steps, with one linear layer for all gates."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.width = width
        self.into, self.again = nn.Linear(6, 4 * width), nn.Linear(width, 4 * width, bias=False)
        self.out = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], self.width)
        for step in range(3):
            i, f, g, o = (self.into(x[:, step]) + self.again(h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h)


class TemporalNet(nn.Module):
    """Dilated gated convolutions with skip connections (van den Oord et al. 2016)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, width, 1)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 3, padding=d, dilation=d) for d in (1, 2, 4))
        self.skips = nn.ModuleList(nn.Conv1d(width, 2 * width, 1) for _ in range(3))
        self.last = nn.Conv1d(width, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.first(x), 0.0
        for gate, skip in zip(self.gates, self.skips, strict=True):
            out, more = skip(F.glu(gate(x), 1)).chunk(2, 1)
            x, total = x + out, total + more
        return self.last(F.relu(total))


class Video(nn.Module):
    """Three-dimensional convolutions and a factorized one (Tran et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.space = nn.Conv3d(2, 8, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(8, 12, (3, 1, 1), padding=(1, 0, 0))
        self.norm, self.fc = nn.BatchNorm3d(12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool3d(F.relu(self.norm(self.time(F.relu(self.space(x))))), 2)
        return self.fc(F.adaptive_avg_pool3d(x, 1).flatten(1))


class Attentive(nn.Module):
    """CBAM (Woo et al. 2018) and a selective kernel with softmax over branches (Li et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 16)
        self.shared = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16))
        self.space = nn.Conv2d(2, 1, 7, padding=3)
        self.small, self.large = conv_bn(16, 12, 3), conv_bn(16, 12, 5)
        self.squeeze = nn.Linear(12, 8)
        self.choose = nn.ModuleList(nn.Linear(8, 12) for _ in range(2))
        self.head = Head(12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * torch.sigmoid(self.shared(x.mean((2, 3))) + self.shared(x.amax((2, 3))))[..., None, None]
        places = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        x = x * torch.sigmoid(self.space(places))
        branches = torch.stack([self.small(x), self.large(x)], 1)
        hidden = F.relu(self.squeeze(branches.sum(1).mean((2, 3))))
        shares = torch.stack([choose(hidden) for choose in self.choose], 1).softmax(1)
        return self.head((branches * shares[..., None, None]).sum(1))


class NonLocal(nn.Module):
    """Every position sees every other (Wang et al. 2017), and attention across channels (El-Nouby et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 16, 3, 2)
        self.theta, self.phi, self.g = (nn.Conv2d(16, 8, 1) for _ in range(3))
        self.back = nn.Conv2d(8, 16, 1)
        self.qkv, self.proj, self.heat = (
            nn.Linear(16, 48),
            nn.Linear(16, 16),
            nn.Parameter(torch.ones(4, 1, 1)),
        )
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        n, _, h, w = x.shape
        theta, phi, g = (f(x).flatten(2) for f in (self.theta, self.phi, self.g))
        seen = (theta.transpose(1, 2) @ phi).softmax(-1) @ g.transpose(1, 2)
        x = x + self.back(seen.transpose(1, 2).reshape(n, 8, h, w))
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).view(n, h * w, 3, 4, 4).permute(2, 0, 3, 4, 1)
        weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.heat).softmax(-1)
        mixed = self.proj((weights @ v).permute(0, 3, 1, 2).reshape(n, h * w, 16))
        return self.head(x + mixed.transpose(1, 2).reshape(n, 16, h, w))


class Attention(nn.Module):
    """Self-attention in the given spelling; ``kv`` heads for keys and values are shared by several of the query's."""

    def __init__(
        self, spelling: str, width: int = 32, heads: int = 4, kv: int = 2, rotary: bool = True
    ) -> None:
        super().__init__()
        self.spelling, self.heads, self.kv, self.each = spelling, heads, kv, width // heads
        self.q = nn.Linear(width, width)
        self.k, self.v = (nn.Linear(width, kv * self.each, bias=False) for _ in range(2))
        self.out = nn.Linear(width, width)
        self.rotary = rotary
        angles = torch.outer(torch.arange(10.0), 100.0 ** -torch.arange(0, 1, 2 / self.each))
        self.register_buffer("cos", torch.cat([angles, angles], -1).cos(), persistent=False)
        self.register_buffer("sin", torch.cat([angles, angles], -1).sin(), persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        if not self.rotary:
            return x
        first, second = x[..., : self.each // 2], x[..., self.each // 2 :]
        return x * self.cos + torch.cat([-second, first], -1) * self.sin

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q = self.turned(self.q(x).view(n, t, self.heads, self.each).transpose(1, 2))
        k = self.turned(self.k(x).view(n, t, self.kv, self.each).transpose(1, 2))
        v = self.v(x).view(n, t, self.kv, self.each).transpose(1, 2)
        mask = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        if self.spelling == "fused":
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=self.kv < self.heads)
            return self.out(y.transpose(1, 2).flatten(2))
        times = self.heads // self.kv
        if self.spelling == "einsum":
            q = q.reshape(n, self.kv, times, t, self.each)
            scores = torch.einsum("nkhqd,nkcd->nkhqc", q, k) / math.sqrt(self.each)
            y = torch.einsum("nkhqc,nkcd->nkhqd", scores.masked_fill(~mask, -1e9).softmax(-1), v)
            return self.out(torch.einsum("nkhqd->nqkhd", y).reshape(n, t, -1))
        if self.spelling == "repeat":
            k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
        else:
            k, v = (
                z[:, :, None].expand(n, self.kv, times, t, self.each).reshape(n, -1, t, self.each)
                for z in (k, v)
            )
        scores = (
            torch.bmm(q.reshape(-1, t, self.each), k.reshape(-1, t, self.each).transpose(1, 2))
            * self.each**-0.5
        )
        weights = scores.view(n, self.heads, t, t).masked_fill(~mask, float("-inf")).softmax(-1)
        y = torch.bmm(weights.view(n * self.heads, t, t), v.reshape(n * self.heads, t, self.each))
        return self.out(y.view(n, self.heads, t, self.each).permute(0, 2, 1, 3).contiguous().view(n, t, -1))


class Decoder(nn.Module):
    """Two blocks of attention and a gated network, tied embeddings."""

    def __init__(self, spelling: str, heads: int = 4, kv: int = 2, rotary: bool = True) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 32)
        self.places = nn.Parameter(torch.randn(1, 10, 32) * 0.1)
        self.blocks = nn.ModuleList()
        for _ in range(2):
            block = nn.ModuleDict(
                {
                    "norm1": nn.RMSNorm(32),
                    "attention": Attention(spelling, 32, heads, kv, rotary),
                    "norm2": nn.LayerNorm(32),
                    "gate": nn.Linear(32, 48),
                    "up": nn.Linear(32, 48),
                    "down": nn.Linear(48, 32),
                }
            )
            self.blocks.append(block)
        self.score = nn.Linear(32, 40, bias=False)
        self.score.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places
        for block in self.blocks:
            x = x + block["attention"](block["norm1"](x))
            y = block["norm2"](x)
            x = x + block["down"](F.silu(block["gate"](y)) * block["up"](y))
        return self.score(x)


class TorchTransformer(nn.Module):
    """torch's own encoder and decoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 16)
        self.net = nn.Transformer(16, 4, 1, 1, 24, batch_first=True)
        self.out = nn.Linear(16, 3)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.out(self.net(self.project(source), self.project(target)))


class TwoTowers(nn.Module):
    """Two inputs, one module used for both and once more, two outputs of which one is a product of features."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16))
        self.text = nn.Embedding(30, 16)
        self.wide = nn.Linear(16 + 10, 4)
        self.bilinear = nn.Bilinear(16, 16, 6)
        self.last = nn.Linear(6, 2)
        self.register_buffer("order", torch.randperm(16, generator=torch.Generator().manual_seed(3)))

    def forward(self, image: Tensor, other: Tensor, words: Tensor) -> dict[str, Tensor]:
        a, b, c = self.tower(image), self.tower(other), self.text(words).mean(1)
        a = a[:, self.order] + b.index_select(1, self.order)
        return {
            "similar": F.normalize(a, dim=-1) @ F.normalize(c, dim=-1).t(),
            "wide": self.wide(torch.cat([torch.relu(b * c), image], -1)),
            "deep": self.last(torch.relu(self.bilinear(a, c))),
        }


class Pyramid(nn.Module):
    """A feature pyramid with one head for all levels, boxes and scores concatenated (Lin et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = conv_bn(3, 8, 3, 2), conv_bn(8, 12, 3, 2), conv_bn(12, 16, 3, 2)
        self.laterals = nn.ModuleList(nn.Conv2d(width, 10, 1) for width in (8, 12, 16))
        self.tower = nn.Sequential(nn.Conv2d(10, 10, 3, padding=1), nn.GroupNorm(5, 10), nn.ReLU())
        self.scores, self.boxes = nn.Conv2d(10, 3 * 2, 3, padding=1), nn.Conv2d(10, 4 * 2, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one = self.one(x)
        two = self.two(one)
        three = self.three(two)
        maps = [lateral(m) for lateral, m in zip(self.laterals, (one, two, three), strict=True)]
        for low in (1, 0):
            maps[low] = maps[low] + F.interpolate(maps[low + 1], scale_factor=2.0)
        towers = [self.tower(m) for m in maps]
        n = x.shape[0]
        scores = [self.scores(t).permute(0, 2, 3, 1).reshape(n, -1, 3) for t in towers]
        boxes = [self.boxes(t).permute(0, 2, 3, 1).reshape(n, -1, 4) for t in towers]
        return torch.cat(scores, 1), torch.cat(boxes, 1)


class Experts(nn.Module):
    """A dense mixture of experts: one weight for all of them, mixed by a gate (Jacobs et al. 1991)."""

    def __init__(self, experts: int = 4) -> None:
        super().__init__()
        self.into = nn.Linear(8, 16)
        self.up = nn.Parameter(torch.randn(experts, 16, 24) * 0.2)
        self.down = nn.Parameter(torch.randn(experts, 24, 16) * 0.2)
        self.gate, self.out = nn.Linear(16, experts), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.into(x))
        hidden = F.gelu(torch.einsum("ni,eio->neo", x, self.up))
        made = torch.matmul(hidden.transpose(0, 1), self.down).transpose(0, 1)
        return self.out((made * self.gate(x).softmax(-1)[..., None]).sum(1))
