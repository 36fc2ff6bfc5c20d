"""Networks for the tests of graphs: ours, and those of other people from tiny configurations."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gossamer.graph import Graph, WeightTransform, trace
from gossamer.networks import lenet_5, lenet_300_100, residual_cnn
from gossamer.weights import Dense, Weight, decode


class DropoutCNN(nn.Module):
    """Residual blocks, batch norm, and dropout both as a module and as a function."""

    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8, momentum=momentum)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8, momentum=momentum)
        self.drop = nn.Dropout2d(0.2)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.stem(x)), inplace=True)
        x = x + self.bn2(self.conv(self.drop(x)))
        x = F.dropout(x.mean((2, 3)), 0.3, self.training)
        return self.head(x)


class TiedHeads(nn.Module):
    """A weight and a module under two names each, a root weight, a frozen one, outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.first = nn.Linear(6, 6)
        self.again = self.first
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 6, bias=False)
        self.head.weight = self.first.weight
        self.frozen = nn.Linear(6, 3)
        self.frozen.weight.requires_grad_(False)
        self.register_buffer("shift", torch.arange(6.0), persistent=False)

    def forward(self, x: Tensor, gain: Tensor | None = None) -> dict[str, Any]:
        y = self.norm(self.again(F.relu(self.first(x * self.scale + self.shift))))
        if gain is not None:
            y = y * gain[:, None]
        return {"tied": self.head(y), "rest": (self.frozen(y), y.sum(1))}


@dataclass(frozen=True)
class Case:
    """A network that trains: the module, one batch, and which of its outputs to train on."""

    build: Callable[[], nn.Module]
    example: Callable[[], Any]
    output: Callable[[Any], Tensor] = lambda outputs: outputs


def _transformers() -> Any:
    reason = "transformers, whose networks are traced here, is not installed"
    return pytest.importorskip("transformers", reason=reason)


def _images(size: int = 32) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(3, 3, size, size)}


def _tokens() -> dict[str, Tensor]:
    return {"input_ids": torch.randint(0, 50, (3, 8)), "attention_mask": torch.ones(3, 8, dtype=torch.long)}


def _resnet() -> nn.Module:
    t = _transformers()
    return t.ResNetForImageClassification(
        t.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="bottleneck", num_labels=5
        )
    )


def _efficientnet() -> nn.Module:
    t = _transformers()
    config = t.EfficientNetConfig(
        image_size=32, width_coefficient=0.25, depth_coefficient=0.1, hidden_dim=320, num_labels=5
    )
    return t.EfficientNetForImageClassification(config)


def _vit() -> nn.Module:
    t = _transformers()
    config = t.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
    )
    return t.ViTForImageClassification(config)


def _bert() -> nn.Module:
    t = _transformers()
    config = t.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    return t.BertForSequenceClassification(config)


def _gpt2() -> nn.Module:
    t = _transformers()
    config = t.GPT2Config(
        vocab_size=50,
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=16,
        use_cache=False,
        bos_token_id=1,
        eos_token_id=1,
    )
    return t.GPT2LMHeadModel(config)


def _whisper() -> nn.Module:
    t = _transformers()
    sizes = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    config = t.WhisperConfig(
        **sizes,
        vocab_size=50,
        d_model=16,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=8,
        max_source_positions=16,
        max_target_positions=16,
        use_cache=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return t.WhisperForConditionalGeneration(config)


def _logits(outputs: Any) -> Tensor:
    return outputs.logits


def _digits() -> Tensor:
    return torch.randn(4, 1, 28, 28)


class Scale(WeightTransform):
    """Weight times a trained factor: the smallest transform with state that trains."""

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.factor = nn.Parameter(factor.detach().clone())

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.factor

    def represent(self, weight: Weight) -> Weight:
        return Dense(decode(weight) * self.factor.detach().numpy())

    def arguments(self) -> dict[str, Any]:
        return {"factor": self.factor}


@cache
def _traced(name: str) -> tuple[nn.Module, Any, Graph]:
    case = CASES[name]
    torch.manual_seed(0)
    model, example = case.build(), case.example()
    return model, example, trace(model, example)


def traced(name: str) -> tuple[nn.Module, Any, Graph]:
    """A network, an example and its graph, for the test alone; both in train mode."""
    model, example, graph = _traced(name)
    return copy.deepcopy(model).train(), example, copy.deepcopy(graph).train()


def call(model: nn.Module, example: Any) -> Any:
    """The outputs on fresh copies of the inputs."""
    if isinstance(example, dict):
        return model(**{name: value.clone() for name, value in example.items()})
    return model(example.clone())


def leaves(outputs: Any) -> list[Any]:
    return torch.utils._pytree.tree_leaves(outputs)


OURS = {
    "lenet-300-100": Case(lenet_300_100, _digits),
    "lenet-5": Case(lenet_5, _digits),
    "residual": Case(lambda: residual_cnn(width=4, stages=2), _digits),
    "dropout": Case(DropoutCNN, _digits),
    "cumulative": Case(lambda: DropoutCNN(momentum=None), _digits),
    "tied": Case(TiedHeads, lambda: {"gain": torch.ones(4), "x": torch.randn(4, 6)}, lambda o: o["tied"]),
    "lstm": Case(
        lambda: nn.LSTM(5, 6, 2, batch_first=True, dropout=0.2), lambda: torch.randn(4, 3, 5), lambda o: o[0]
    ),
    "attention": Case(
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True),
        lambda: torch.randn(4, 5, 8),
    ),
}
OTHERS = {
    "resnet": Case(_resnet, _images, _logits),
    "efficientnet": Case(_efficientnet, _images, _logits),
    "vit": Case(_vit, _images, _logits),
    "bert": Case(_bert, _tokens, _logits),
    "gpt2": Case(_gpt2, _tokens, _logits),
    "whisper": Case(
        _whisper,
        lambda: {"input_features": torch.randn(3, 8, 32), "decoder_input_ids": torch.randint(0, 50, (3, 4))},
        _logits,
    ),
}
CASES = OURS | OTHERS
