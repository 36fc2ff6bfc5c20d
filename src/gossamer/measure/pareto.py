"""Pareto front: the points that no other point beats in everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def pareto(points: npt.ArrayLike, maximize: Sequence[bool]) -> npt.NDArray[np.bool_]:
    """Which of the n points are Pareto-optimal.

    ``points``: (n, k) finite numbers, one objective a column. ``maximize``: k flags, whether more is better
    in that column. A point is optimal when no other is at least as good in every column and better in one;
    equal points are all optimal. Returns bool of shape (n,). Raises ``ValueError`` for shapes that do not fit
    or a NaN.

    >>> pareto([[0.98, 20], [0.98, 30], [0.99, 40]], maximize=[True, False])  # accuracy, kilobytes
    array([ True, False,  True])
    """
    values = np.asarray(points, dtype=np.float64)
    if values.size == 0:
        return np.zeros(len(values), dtype=np.bool_)
    if values.ndim != 2 or values.shape[1] != len(maximize):
        raise ValueError(
            f"points have shape {values.shape}; (n, {len(maximize)}) fits the {len(maximize)} objectives"
        )
    if np.isnan(values).any():
        raise ValueError(
            f"point {int(np.isnan(values).any(axis=1).argmax())} has a NaN; leave out what was not measured"
        )
    costs = np.where(np.asarray(maximize, dtype=np.bool_), -values, values)
    return np.array([not _beaten(point, costs) for point in costs], dtype=np.bool_)


def _beaten(point: npt.NDArray[np.float64], costs: npt.NDArray[np.float64]) -> bool:
    return bool((np.all(costs <= point, axis=1) & np.any(costs < point, axis=1)).any())
