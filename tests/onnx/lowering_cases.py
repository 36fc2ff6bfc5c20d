"""Networks for the tests of lowering: the papers' own, odd little ones, and transformers' from their configs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gossamer.networks import lenet_5, lenet_300_100, residual_cnn

Case = tuple[Callable[[], nn.Module], dict[str, Tensor]]


class UnevenPools(nn.Module):
    """Adaptive pooling to a size that does not divide the input's: exported as gathers along two axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 4, 5) -> (N, 4, 3, 2)"""
        return nn.functional.adaptive_avg_pool2d(self.conv(x), (3, 2))


class Flattens(nn.Module):
    """Every way in which people flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, bias=False)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.conv(x)
        ways = (
            torch.flatten(x, 1),
            x.view(x.size(0), -1),
            x.reshape(-1, 8),
            x.reshape(x.shape[0], x.size(1) * x.size(2) * x.size(3)),
            x.flatten(2).transpose(1, 2).reshape(x.shape[0], -1),
        )
        return tuple(self.fc(way) for way in ways)


class Shares(nn.Module):
    """One layer used twice, and one weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        hidden = torch.relu(self.first(self.first(features)))
        return {"hidden": hidden, "logits": self.second(hidden)}


class Sequence(nn.Module):
    """Linear on three dimensions, splits, batch norm in one dimension, dropout, constants, an input passed through."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(5, 12)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.scale = nn.Parameter(torch.tensor(1.7))

    def forward(self, x: Tensor, weights: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        query, key, value = self.project(x).split(4, dim=-1)
        scores = (query @ key.transpose(1, 2)) * self.scale / 4**0.5
        mixed = F.softmax(scores, dim=-1) @ value + weights[:, None, None]
        left, right = self.drop(self.norm(mixed.mean(dim=1))).chunk(2, dim=1)
        return left * right, {"weights": weights, "doubled": torch.cat([left, left], dim=1)}


def _batch(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


CASES: dict[str, Case] = {
    "LeNet-300-100": (lenet_300_100, {"images": _batch(2, 1, 28, 28)}),
    "LeNet-5": (lenet_5, {"images": _batch(2, 1, 28, 28)}),
    "residual": (residual_cnn, {"images": _batch(2, 1, 28, 28)}),
    "flattens": (Flattens, {"x": _batch(3, 1, 4, 4)}),
    "uneven pools": (UnevenPools, {"x": _batch(3, 1, 4, 5)}),
    "shares": (Shares, {"features": _batch(2, 6)}),
    "sequence": (Sequence, {"x": _batch(2, 3, 5), "weights": _batch(2)}),
}


def _transformer(kind: str, **config: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import transformers

        model, _, task = kind.partition("For")
        made: nn.Module = getattr(transformers, kind if task else model)(
            getattr(transformers, f"{model.removesuffix('LMHeadModel')}Config")(**config)
        )
        return made

    return build


_IDS = torch.arange(14).reshape(2, 7)
_TEXT = {"vocab_size": 50}
ZOO: dict[str, Case] = {
    "ResNet": (
        _transformer(
            "ResNetForImageClassification",
            embedding_size=8,
            hidden_sizes=[8, 16],
            depths=[1, 1],
            layer_type="basic",
            num_labels=4,
        ),
        {"pixel_values": _batch(2, 3, 32, 32)},
    ),
    "MobileNetV2": (
        _transformer("MobileNetV2ForImageClassification", depth_multiplier=0.1, min_depth=4, num_labels=4),
        {"pixel_values": _batch(2, 3, 32, 32)},
    ),
    "BERT": (
        _transformer(
            "BertForSequenceClassification",
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
            **_TEXT,
        ),
        {"input_ids": _IDS, "attention_mask": (_IDS % 7 < 5).long()},
    ),
    "ViT": (
        _transformer(
            "ViTForImageClassification",
            image_size=32,
            patch_size=8,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            num_labels=4,
        ),
        {"pixel_values": _batch(2, 3, 32, 32)},
    ),
    "GPT-2": (
        _transformer(
            "GPT2LMHeadModel",
            n_positions=16,
            n_embd=16,
            n_layer=1,
            n_head=2,
            use_cache=False,
            bos_token_id=0,
            eos_token_id=0,
            **_TEXT,
        ),
        {"input_ids": _IDS},
    ),
}
