"""The zoo: networks by name, each with an example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from classics_attention import (
    Attentive,
    Decoder,
    Experts,
    MLPMixer,
    NonLocal,
    Pyramid,
    TorchTransformer,
    TwoTowers,
)
from classics_branches import (
    VGG,
    C2f,
    DenseNet,
    GoogLeNet,
    HRNet,
    InceptionV3,
    Res2Net,
    ShuffleNet,
    ShuffleNetV2,
    SqueezeNet,
    UNet,
)
from classics_residual import (
    Autoencoder,
    CifarResNet,
    GroupNormNet,
    MobileNetV3,
    ResNet,
    StandardizedNet,
    SuperResolution,
)
from classics_sequences import Cells, Tagger, TemporalNet, Video
from torch import Tensor, nn


@dataclass(frozen=True)
class Animal:
    """A network and one batch."""

    build: Callable[[], nn.Module]
    example: Callable[[], Any]
    norms: bool = False  # whether it is normalized over channels


def images(size: int = 32, channels: int = 3) -> Callable[[], Tensor]:
    return lambda: torch.randn(3, channels, size, size)


def words(length: int = 10) -> Callable[[], Tensor]:
    return lambda: torch.randint(0, 40, (3, length))


def sentences() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 40, (3, 7)), torch.randint(0, 5, (3, 7))


CLASSICS: dict[str, Animal] = {
    "vgg": Animal(VGG, images()),
    "densenet": Animal(DenseNet, images()),
    "googlenet": Animal(GoogLeNet, images()),
    "inception-v3": Animal(InceptionV3, images()),
    "squeezenet": Animal(SqueezeNet, images()),
    "shufflenet": Animal(ShuffleNet, images()),
    "shufflenet-v2": Animal(ShuffleNetV2, images()),
    "res2net": Animal(Res2Net, images(16)),
    "hrnet": Animal(HRNet, images(16)),
    "unet": Animal(UNet, images(16)),
    "yolo-c2f": Animal(C2f, images()),
    "mobilenet-v3": Animal(MobileNetV3, images()),
    "resnet": Animal(ResNet, images()),
    "resnext": Animal(lambda: ResNet(groups=4), images()),
    "se-resnet": Animal(lambda: ResNet(excite=True), images()),
    "cifar-resnet": Animal(CifarResNet, images(16)),
    "group-norm": Animal(GroupNormNet, images(16), norms=True),
    "computed-weights": Animal(StandardizedNet, images(16), norms=True),
    "super-resolution": Animal(SuperResolution, images(16)),
    "autoencoder": Animal(Autoencoder, images(28, 1)),
    "mlp-mixer": Animal(MLPMixer, images(), norms=True),
    "lstm-tagger": Animal(Tagger, sentences),
    "gru-tagger": Animal(lambda: Tagger("GRU"), sentences),
    "lstm-cells": Animal(Cells, lambda: torch.randn(3, 4, 6)),
    "wavenet": Animal(TemporalNet, lambda: torch.randn(3, 4, 20)),
    "video": Animal(Video, lambda: torch.randn(3, 2, 4, 8, 8)),
    "cbam-sk": Animal(Attentive, images(16), norms=True),
    "non-local": Animal(NonLocal, images(16), norms=True),
    "attention-fused": Animal(lambda: Decoder("fused"), words(), norms=True),
    "attention-einsum": Animal(lambda: Decoder("einsum"), words(), norms=True),
    "attention-repeat": Animal(lambda: Decoder("repeat"), words(), norms=True),
    "attention-expand": Animal(lambda: Decoder("expand"), words(), norms=True),
    "attention-multi-query": Animal(lambda: Decoder("expand", kv=1), words(), norms=True),
    "attention-fused-multi-query": Animal(lambda: Decoder("fused", kv=1, rotary=False), words(), norms=True),
    "torch-transformer": Animal(
        TorchTransformer, lambda: (torch.randn(3, 5, 6), torch.randn(3, 4, 6)), norms=True
    ),
    "two-towers": Animal(
        TwoTowers,
        lambda: (torch.randn(3, 10), torch.randn(3, 10), torch.randint(0, 30, (3, 4))),
        norms=True,
    ),
    "pyramid": Animal(Pyramid, images(), norms=True),
    "experts": Animal(Experts, lambda: torch.randn(3, 8), norms=True),
}
