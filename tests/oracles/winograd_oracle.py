"""Winograd convolution in double precision, and equation (12) of docs/numerics.md: how large its terms are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Array = npt.NDArray[np.float64]
ROUNDINGS = 19  # of the transforms, bias and residual: equation (12)

# B^T, G, A^T for tiles of 2, 4 and 6 outputs.
MATRICES: dict[int, tuple[Array, Array, Array]] = {
    2: (
        np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1.0]]),
        np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
        np.array([[1, 1, 1, 0], [0, 1, -1, 1.0]]),
    ),
    4: (
        np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                  [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1.0]]),
        np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
        np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1.0]]),
    ),
    6: (
        np.array([[4, 0, -21, 0, 21, 0, -4, 0], [0, 4, 4, -17, -17, 4, 4, 0], [0, -4, 4, 17, -17, -4, 4, 0],
                  [0, 2, 1, -10, -5, 8, 4, 0], [0, -2, 1, 10, -5, -8, 4, 0], [0, 8, 16, -10, -20, 2, 4, 0],
                  [0, -8, 16, 10, -20, -2, 4, 0], [0, -4, 0, 21, 0, -21, 0, 4]]) / 4,
        np.array([[90, 0, 0], [-20, -20, -20], [-20, 20, -20], [1, 2, 4], [1, -2, 4],
                  [64, 32, 16], [64, -32, 16], [0, 0, 90]]) / 90,
        np.array([[1, 1, 1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 1 / 2, -1 / 2, 0],
                  [0, 1, 1, 4, 4, 1 / 4, 1 / 4, 0], [0, 1, -1, 8, -8, 1 / 8, -1 / 8, 0],
                  [0, 1, 1, 16, 16, 1 / 16, 1 / 16, 0], [0, 1, -1, 32, -32, 1 / 32, -1 / 32, 1]]),
    ),
}  # fmt: skip


def winograd(
    x: Array, weights: Array, m: int, pads: tuple[int, int, int, int], absolute: bool = False
) -> Array:
    """The convolution (3x3, stride 1; pads: top, left, bottom, right); of all magnitudes if ``absolute``."""
    matrices = [np.abs(matrix) if absolute else matrix for matrix in MATRICES[m]]
    x, weights = (np.abs(a) if absolute else np.asarray(a, np.float64) for a in (x, weights))
    inputs, filters, outputs = matrices
    height, width = (x.shape[2] + pads[0] + pads[2] - 2, x.shape[3] + pads[1] + pads[3] - 2)
    below, right = (-height % m, -width % m)
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2] + below), (pads[1], pads[3] + right)))
    tiles = sliding_window_view(padded, (m + 2, m + 2), axis=(2, 3))[:, :, ::m, ::m]
    products = np.einsum(
        "ncyxij,kcij->nkyxij", inputs @ tiles @ inputs.T, filters @ weights @ filters.T, optimize=True
    )
    y = np.swapaxes(outputs @ products @ outputs.T, 3, 4)
    return y.reshape(*y.shape[:2], height + below, width + right)[:, :, :height, :width]
