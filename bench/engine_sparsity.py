"""Random zeros in blocks: the pattern that the sparse kernels are raced on.

A block is 4 consecutive input channels of one kernel tap (4 consecutive input features of a linear layer), and its
position is shared by ``rows`` consecutive output channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

BLOCK = 4


@dataclass(frozen=True)
class Sparsity:
    """``zeros``: the share of blocks that are zero; ``rows``: how many output channels share a pattern."""

    zeros: float
    rows: int = 4


def sparsify(module: nn.Module, sparsity: Sparsity, seed: int = 0) -> list[str]:
    """Zero blocks of ``module``'s weights, in place; the names of the layers.

    Those are all convolutions but the first, or, in a network without convolutions, all linear layers; in both cases
    those that blocks divide.
    """
    generator = torch.Generator().manual_seed(seed)
    named = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)][1:]
    named = named or [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    done = []
    for name, layer in named:
        outputs, inputs = layer.weight.shape[:2]
        if inputs % BLOCK == 0 and outputs % sparsity.rows == 0:
            layer.weight.mul_(block_mask(layer.weight, sparsity, generator))
            done.append(name)
    return done


def block_mask(weight: Tensor, sparsity: Sparsity, generator: torch.Generator) -> Tensor:
    """Ones and zeros of ``weight``'s shape (outputs, inputs, *kernel); random blocks are 0."""
    outputs, inputs, *kernel = weight.shape
    blocks = torch.ones(outputs // sparsity.rows, inputs // BLOCK, *kernel)
    order = torch.randperm(blocks.numel(), generator=generator)
    blocks.view(-1)[order[: round(sparsity.zeros * blocks.numel())]] = 0
    return blocks.repeat_interleave(sparsity.rows, 0).repeat_interleave(BLOCK, 1)
