"""MNIST, and every data set in its form (Fashion-MNIST, KMNIST, ...).

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition. 1998.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gossamer.datasets.examples import Examples
from gossamer.datasets.idx import read_idx
from gossamer.errors import FormatError, TaskError

#: Mean and standard deviation of the pixels of MNIST's training images, on the scale 0 to 1.
MEAN, STD = 0.1307, 0.3081


class Mnist(NamedTuple):
    """Images are float32 of shape (n, 1, 28, 28), normalised; labels are int64 of shape (n,), 0 to 9."""

    train: Examples
    valid: Examples
    test: Examples


def mnist(folder: str | Path, *, valid: int = 5_000) -> Mnist:
    """The data set in ``folder``, which holds the four standard IDX files, gzipped or plain.

    The last ``valid`` training images become the validation split, so it is the same on every machine; the
    rest (55,000) train. Raises ``TaskError`` where a file is missing or ``valid`` is out of range,
    ``FormatError`` where a file is damaged or images and labels do not belong together.
    """
    folder = Path(folder)
    images, labels = _split(folder, "train")
    if not 0 < valid < len(images):
        raise TaskError(f"valid={valid}: validation must take 1 to {len(images) - 1} images")
    cut = len(images) - valid
    train = Examples(images[:cut], labels[:cut])
    return Mnist(train, Examples(images[cut:], labels[cut:]), Examples(*_split(folder, "t10k")))


def normalize(pixels: Tensor) -> Tensor:
    """Pixels 0 to 255 (any shape, any dtype) as the float32 values that the networks here are trained on."""
    return (pixels.float() / 255.0 - MEAN) / STD


def _split(folder: Path, prefix: str) -> tuple[Tensor, Tensor]:
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"))
    if images.dtype != np.uint8 or images.ndim != 3:
        raise FormatError(f"{folder}: {prefix} images are {images.dtype} {images.shape}, not bytes (n, h, w)")
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise FormatError(f"{folder}: {prefix} labels {labels.shape} for images {images.shape}")
    return normalize(torch.from_numpy(images)).unsqueeze(1), torch.from_numpy(labels).long()


def _find(folder: Path, name: str) -> Path:
    candidates = (folder / f"{name}.gz", folder / name)
    for path in candidates:
        if path.is_file():
            return path
    raise TaskError(f"{candidates[0]} is missing (and {name}); give the folder of the four IDX files")
