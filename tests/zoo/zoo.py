"""The zoo: networks by name, each with an example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import classics as c
import torch
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
    "vgg": Animal(c.VGG, images()),
    "densenet": Animal(c.DenseNet, images()),
    "googlenet": Animal(c.GoogLeNet, images()),
    "inception-v3": Animal(c.InceptionV3, images()),
    "squeezenet": Animal(c.SqueezeNet, images()),
    "shufflenet": Animal(c.ShuffleNet, images()),
    "shufflenet-v2": Animal(c.ShuffleNetV2, images()),
    "res2net": Animal(c.Res2Net, images(16)),
    "hrnet": Animal(c.HRNet, images(16)),
    "unet": Animal(c.UNet, images(16)),
    "yolo-c2f": Animal(c.C2f, images()),
    "mobilenet-v3": Animal(c.MobileNetV3, images()),
    "resnet": Animal(c.ResNet, images()),
    "resnext": Animal(lambda: c.ResNet(groups=4), images()),
    "se-resnet": Animal(lambda: c.ResNet(excite=True), images()),
    "cifar-resnet": Animal(c.CifarResNet, images(16)),
    "group-norm": Animal(c.GroupNormNet, images(16), norms=True),
    "computed-weights": Animal(c.StandardizedNet, images(16), norms=True),
    "super-resolution": Animal(c.SuperResolution, images(16)),
    "autoencoder": Animal(c.Autoencoder, images(28, 1)),
    "mlp-mixer": Animal(c.MLPMixer, images(), norms=True),
    "lstm-tagger": Animal(c.Tagger, sentences),
    "gru-tagger": Animal(lambda: c.Tagger("GRU"), sentences),
    "lstm-cells": Animal(c.Cells, lambda: torch.randn(3, 4, 6)),
    "wavenet": Animal(c.TemporalNet, lambda: torch.randn(3, 4, 20)),
    "video": Animal(c.Video, lambda: torch.randn(3, 2, 4, 8, 8)),
    "cbam-sk": Animal(c.Attentive, images(16), norms=True),
    "non-local": Animal(c.NonLocal, images(16), norms=True),
    "attention-fused": Animal(lambda: c.Decoder("fused"), words(), norms=True),
    "attention-einsum": Animal(lambda: c.Decoder("einsum"), words(), norms=True),
    "attention-repeat": Animal(lambda: c.Decoder("repeat"), words(), norms=True),
    "attention-expand": Animal(lambda: c.Decoder("expand"), words(), norms=True),
    "attention-multi-query": Animal(lambda: c.Decoder("expand", kv=1), words(), norms=True),
    "attention-fused-multi-query": Animal(
        lambda: c.Decoder("fused", kv=1, rotary=False), words(), norms=True
    ),
    "torch-transformer": Animal(
        c.TorchTransformer, lambda: (torch.randn(3, 5, 6), torch.randn(3, 4, 6)), norms=True
    ),
    "two-towers": Animal(
        c.TwoTowers,
        lambda: (torch.randn(3, 10), torch.randn(3, 10), torch.randint(0, 30, (3, 4))),
        norms=True,
    ),
    "pyramid": Animal(c.Pyramid, images(), norms=True),
    "experts": Animal(c.Experts, lambda: torch.randn(3, 8), norms=True),
}
