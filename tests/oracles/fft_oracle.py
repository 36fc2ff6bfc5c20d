"""Equation (18) of docs/numerics.md: what convolution by Fourier transforms may err."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
UNIT = 2.0**-24
LEVELS = 13  # log2 of the points of the largest tile, and the rotation of one dimension
LEVEL = 7  # roundings of a level of a transform


def fft_roundings(channels: int) -> int:
    """The factor of u in equation (18)."""
    return 2 * LEVELS * LEVEL + channels + 8


def fft_bound(x: Array, weights: Array, groups: int) -> Array:
    """Equation (18) without bias and residual, [batch, out channels, 1, 1]."""
    count = fft_roundings(weights.shape[1]) * UNIT
    return count / (1 - count) * fft_magnitude(x, weights, groups)


def fft_magnitude(x: Array, weights: Array, groups: int) -> Array:
    """The sum over channels of the filter's sum of magnitudes times sqrt 2 the image's Euclidean norm."""
    batch, channels, out = x.shape[0], weights.shape[1], weights.shape[0]
    norms = np.sqrt(2.0 * (x.astype(np.float64) ** 2).sum((2, 3))).reshape(batch, groups, channels)
    sums = np.abs(weights.astype(np.float64)).sum((2, 3)).reshape(groups, out // groups, channels)
    return np.einsum("bgc,goc->bgo", norms, sums).reshape(batch, out, 1, 1)
