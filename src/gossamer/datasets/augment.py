"""Mild augmentation, a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gossamer.errors import TaskError


@dataclass(frozen=True)
class RandomShift:
    """Move each image by up to ``pixels`` up or down and left or right; what moves in repeats the edge.

    All ``(2 * pixels + 1)**2`` shifts are equally likely. Draws from torch's global generator.
    """

    pixels: int = 1

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise TaskError(f"RandomShift(pixels={self.pixels}): give 0 pixels or more")

    def __call__(self, images: Tensor) -> Tensor:
        """Floating (n, channels, height, width) -> the same shape."""
        n, _, height, width = images.shape
        padded = F.pad(images, (self.pixels,) * 4, mode="replicate")
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        down, right = torch.randint(2 * self.pixels + 1, (2, n))
        return windows[torch.arange(n), :, down, right]
