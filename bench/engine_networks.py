"""The networks of the engine's race, as plain torch modules: batch norms folded, weights and biases random.

Speed does not depend on the values of weights, so nothing is trained. Biases are random because ONNX Runtime's
quantizer leaves convolutions with equal biases in floating point without a word. The last layer of a residual branch is
scaled down, so that activations keep their size in depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gossamer.networks import lenet_5, lenet_300_100

VOCABULARY = 30_522


@dataclass(frozen=True)
class Network:
    """A workload: what is built, and one example of its input (without the batch dimension).

    ``whole``: a network, not a single layer.
    """

    name: str
    title: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    tokens: bool = False
    whole: bool = True

    def module(self, seed: int = 0) -> nn.Module:
        """The network with its random weights, in eval mode."""
        torch.manual_seed(seed)
        module = self.build().eval()
        for layer in module.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                _fill(layer)
            elif isinstance(layer, nn.LayerNorm):
                nn.init.normal_(layer.weight, 1.0, 0.1)
                nn.init.normal_(layer.bias, std=0.1)
        return module.requires_grad_(False)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one example: convolutions and matrix products."""
        with (
            torch.device("meta"),
            FlopCounterMode(display=False) as counter,
        ):  # shapes alone: nothing is computed
            self.build().eval()(torch.from_numpy(self.inputs(1, 0)).to("meta"))
        return counter.get_total_flops() // 2

    def inputs(self, batch: int, seed: int) -> npt.NDArray[np.generic]:
        """A batch of random inputs: standard normal, or tokens."""
        rng = np.random.default_rng(seed)
        if self.tokens:
            return rng.integers(0, VOCABULARY, (batch, *self.shape))
        return rng.standard_normal((batch, *self.shape), dtype=np.float32)


def _fill(layer: nn.Conv2d | nn.Linear) -> None:
    """He et al. 2015 (fan in), biases a tenth as wide."""
    gain = 2 * getattr(layer, "branch_end", 1.0)
    nn.init.normal_(layer.weight, std=math.sqrt(gain / layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.normal_(layer.bias, std=0.1)


def _ends_branch(layer: nn.Conv2d) -> nn.Conv2d:
    layer.branch_end = 0.25  # type: ignore[assignment]
    return layer


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)


class Residual(nn.Module):
    """relu(branch(x) + shortcut(x)): the blocks of He et al. 2016; a shortcut of 1x1 where shapes change."""

    def __init__(self, branch: nn.Sequential, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = branch
        changes = stride != 1 or inputs != outputs
        self.shortcut = conv(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


def basic(inputs: int, width: int, stride: int) -> Residual:
    branch = nn.Sequential(conv(inputs, width, 3, stride), nn.ReLU(), _ends_branch(conv(width, width, 3)))
    return Residual(branch, inputs, width, stride)


def bottleneck(inputs: int, width: int, stride: int) -> Residual:
    """The stride is the 3x3 convolution's (ResNet v1.5, as in torchvision and MLPerf)."""
    last = _ends_branch(conv(width, 4 * width, 1))
    branch = nn.Sequential(conv(inputs, width, 1), nn.ReLU(), conv(width, width, 3, stride), nn.ReLU(), last)
    return Residual(branch, inputs, 4 * width, stride)


def resnet(
    block: Callable[[int, int, int], Residual], blocks: Sequence[int], expansion: int
) -> nn.Sequential:
    """He et al. 2016, table 1, for 224 x 224."""
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for i in range(count):
            layers.append(block(inputs, width, 2 if stage > 0 and i == 0 else 1))
            inputs = expansion * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


def vgg_16(*classifier: int) -> nn.Sequential:
    """Simonyan, Zisserman 2015, configuration D; then linear layers of these sizes, ReLU between them."""
    layers: list[nn.Module] = []
    inputs = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [conv(inputs, width, 3), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    for a, b in pairwise(classifier):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class InvertedResidual(nn.Module):
    """Sandler et al. 2018: 1x1 up, depthwise 3x3, 1x1 down, added to the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        widen = [] if expansion == 1 else [conv(inputs, hidden, 1), nn.ReLU6()]
        last = conv(hidden, outputs, 1)
        narrow = _ends_branch(last) if self.adds else last
        self.branch = nn.Sequential(*widen, conv(hidden, hidden, 3, stride, hidden), nn.ReLU6(), narrow)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.adds else self.branch(x)


def mobilenet_v2() -> nn.Sequential:
    """Sandler et al. 2018, table 2, width 1."""
    layers: list[nn.Module] = [conv(3, 32, 3, 2), nn.ReLU6()]
    inputs = 32
    table = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for expansion, width, count, first in table:
        for i in range(count):
            layers.append(InvertedResidual(inputs, width, first if i == 0 else 1, expansion))
            inputs = width
    head = [conv(inputs, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


class EncoderLayer(nn.Module):
    """A layer of BERT (Devlin et al. 2019): self-attention, then GELU between two linear layers; norms at the ends."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def split(self, x: Tensor) -> Tensor:
        """(n, tokens, width) -> (n, heads, tokens, width / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]), dim=-1)
        x = self.norm1(x + self.out((weights @ value).transpose(1, 2).reshape(x.shape)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    """Tokens (n, tokens) -> (n, tokens, width); no padding, one segment, no pooler."""

    def __init__(self, layers: int, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(VOCABULARY, width), nn.LayerNorm(width)
        self.positions = nn.Parameter(torch.randn(tokens, width))
        self.layers = nn.Sequential(*(EncoderLayer(width, heads) for _ in range(layers)))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(self.norm(self.words(tokens) + self.positions))  # type: ignore[no-any-return]


def _single(inputs: int, outputs: int, size: int, groups: int = 1) -> Network:
    kind = "depthwise 3x3" if groups > 1 else "convolution 3x3"
    title = f"{kind}, {inputs} channels, {size}x{size}"
    name = f"{'depthwise' if groups > 1 else 'conv'}-{inputs}-{size}"
    return Network(
        name, title, lambda: conv(inputs, outputs, 3, groups=groups), (inputs, size, size), whole=False
    )


IMAGE = (3, 224, 224)
NETWORKS = (
    Network("resnet-50", "ResNet-50", lambda: resnet(bottleneck, (3, 4, 6, 3), 4), IMAGE),
    Network("resnet-18", "ResNet-18", lambda: resnet(basic, (2, 2, 2, 2), 1), IMAGE),
    Network("vgg-16", "VGG-16", lambda: vgg_16(25088, 4096, 4096, 1000), IMAGE),
    Network("mobilenet-v2", "MobileNetV2", mobilenet_v2, IMAGE),
    Network("vgg-16-cifar", "VGG-16 for CIFAR", lambda: vgg_16(512, 10), (3, 32, 32)),
    Network("lenet-5", "LeNet-5 (Caffe's)", lenet_5, (1, 28, 28)),
    Network("lenet-300-100", "LeNet-300-100", lenet_300_100, (784,)),
    Network("bert", "BERT 6 x 384, 128 tokens", lambda: Bert(6, 384, 12, 128), (128,), tokens=True),
    Network("linear", "linear 768 x 3072 by 784", lambda: nn.Linear(768, 3072), (784, 768), whole=False),
    _single(144, 144, 56, groups=144),
    _single(64, 64, 56),
    _single(128, 128, 28),
    _single(256, 256, 14),
    _single(512, 512, 7),
    _single(256, 256, 56),
)
