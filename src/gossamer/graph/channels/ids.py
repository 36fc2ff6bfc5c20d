"""Channel ids: which indices of which dimensions are there or gone together.

Every index of a dimension carries a set of ids and is removed when any of them is. Two ids that must go together
are united. An id may be *split* into others: the 768 outputs of a linear layer that is viewed as 12 heads of 64
are one id each at first; the view makes number 64 h + d the pair (head h, dimension d), wherever it is used. So
heads and the dimensions within a head are two independent choices over the same weights, and every set of removed
ids leaves tensors that are rectangular.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]


class Dim(NamedTuple):
    """One dimension of a tensor. ``ids``: (n, k), row i holds the ids of index i, -1 where there is none.

    ``why``: for indices without an id, what keeps them where they are, in words.
    """

    ids: Array
    why: str = ""

    @property
    def size(self) -> int:
        """How many indices the dimension has."""
        return len(self.ids)

    @property
    def free(self) -> bool:
        """Whether any index could be removed."""
        return bool((self.ids >= 0).any())

    def at(self, rows: Array | slice) -> Dim:
        """The dimension made of these indices."""
        return Dim(self.ids[rows], self.why)


def fixed(size: int, why: str) -> Dim:
    """A dimension of which nothing can be removed."""
    return Dim(np.full((size, 1), -1, np.int64), why)


class Ids:
    """All ids of one graph: a union-find with splits and pins."""

    def __init__(self) -> None:
        self._parent: Array = np.zeros(0, np.int64)
        self._family: Array = np.zeros(0, np.int64)
        self._families = 0
        self._is_split: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._parts: dict[int, tuple[int, ...]] = {}
        self._reasons: dict[int, str] = {}
        self.where = ""  # what is looked at, for reasons

    def fresh(self, size: int) -> Array:
        """New ids of one family, shape (size, 1)."""
        first = len(self._parent)
        new = np.arange(first, first + size)
        self._parent = np.concatenate([self._parent, new])
        self._family = np.concatenate([self._family, np.full(size, self._families)])
        self._is_split = np.concatenate([self._is_split, np.zeros(size, np.bool_)])
        self._families += 1
        return new[:, None]

    def find(self, ids: Array) -> Array:
        """The representatives; -1 stays -1."""
        roots = ids
        while True:
            above = np.where(roots < 0, -1, self._parent[roots])
            if np.array_equal(above, roots):
                break
            roots = above
        known = ids >= 0
        self._parent[ids[known]] = roots[known]
        return roots

    def resolve(self, ids: Array) -> Array:
        """The same sets of ids in representatives that are not split, shape (n, k'), without repetition."""
        roots = self.find(ids)
        while self._parts and (split := self._is_split[roots] & (roots >= 0)).any():
            columns = [self._expanded(c, s) for c, s in zip(roots.T, split.T, strict=True)]
            roots = self.find(np.concatenate(columns, 1))
        return _without_repetition(roots)

    def _expanded(self, column: Array, split: npt.NDArray[np.bool_]) -> Array:
        if not split.any():
            return column[:, None]
        distinct, place = np.unique(column, return_inverse=True)
        parts = [self._parts.get(int(i), (int(i),)) for i in distinct]
        table = np.full((len(parts), max(map(len, parts))), -1, np.int64)
        for row, some in zip(table, parts, strict=True):
            row[: len(some)] = some
        return np.asarray(table[place])

    def unite(self, first: Array, second: Array) -> None:
        """Make first[i] and second[i] one id, for every i; both shape (n,), without -1."""
        while True:
            a, b = self.find(first), self.find(second)
            low, high = np.minimum(a, b), np.maximum(a, b)
            high, places = np.unique(np.where(low == high, -1, high), return_index=True)
            low, high = low[places][high >= 0], high[high >= 0]
            if not len(high):
                return
            self._parent[high] = low
            for old in [int(i) for i in high if int(i) in self._parts or int(i) in self._reasons]:
                self._inherit(old)

    def _inherit(self, old: int) -> None:
        """Give what is known about ``old``, which is no representative any more, to the present one."""
        new = int(self.find(np.array([old]))[0])
        parts, reason = self._parts.pop(old, None), self._reasons.pop(old, None)
        self._is_split[old] = False
        reason = reason or self._reasons.get(new)
        if parts:
            self.split(new, parts)
        if reason:
            self.pin(np.array([[new]]), reason)

    def split(self, whole: int, parts: Sequence[int]) -> None:
        """``whole`` is gone exactly when any of ``parts`` is."""
        root = int(self.find(np.array([whole]))[0])
        some = tuple(dict.fromkeys(int(i) for i in self.find(np.array(parts))))
        old = self._parts.get(root)
        if some == (root,) or some == old:
            return
        if len(some) == 1:
            self.unite(np.array([root]), np.array(some))
        elif old is not None and len(old) == len(some):
            self.unite(np.array(old), np.array(some))
        elif old is not None or root in self.resolve(np.array([some])):
            self.pin(np.array([[root, *some]]), f"parts that do not fit together in {self.where}")
        else:
            self._parts[root] = some
            self._is_split[root] = True
            if root in self._reasons:
                self.pin(np.array([some]), self._reasons[root])

    def pin(self, ids: Array, why: str) -> None:
        """Nothing with one of these ids is ever removed."""
        for i in np.unique(self.resolve(ids)):
            if i >= 0:
                self._reasons.setdefault(int(i), why)

    def reason(self, root: int) -> str | None:
        """Why a representative is pinned; None where it is not."""
        return self._reasons.get(root)

    def families(self, roots: Array) -> dict[int, frozenset[int]]:
        """For every one of these representatives the families of the ids that it stands for."""
        own = self.find(np.arange(len(self._parent)))
        among = np.isin(own, roots)
        found: dict[int, set[int]] = {}
        for root, family in np.unique(np.stack([own[among], self._family[among]], 1), axis=0).tolist():
            found.setdefault(root, set()).add(family)
        return {root: frozenset(some) for root, some in found.items()}

    def tie(self, first: Dim, second: Dim, why: str) -> None:
        """Index i of ``first`` and index i of ``second`` are there or gone together, for every i."""
        a, b = self.resolve(first.ids), self.resolve(second.ids)
        free_a, free_b = (a >= 0).any(1), (b >= 0).any(1)
        self.pin(a[free_a & ~free_b], f"{why} with {second.why}" if second.why else why)
        self.pin(b[free_b & ~free_a], f"{why} with {first.why}" if first.why else why)
        both = free_a & free_b
        if both.any():
            self._tie_sets(_without_repetition(a[both]), _without_repetition(b[both]), why)

    def _tie_sets(self, a: Array, b: Array, why: str) -> None:
        """Sets of ids row by row: columns that vary alike over the rows are the same choice."""
        patterns = [_pattern(column) for column in a.T]
        left_b = []
        for column in b.T:
            pattern = _pattern(column)
            if pattern in patterns:
                place = patterns.index(pattern)
                self._unite_columns(a[:, place], column)
                a = np.delete(a, place, 1)
                del patterns[place]
            else:
                left_b.append(column)
        rest = np.stack(left_b, 1) if left_b else np.zeros((len(a), 0), np.int64)
        if a.shape[1] == 1 and rest.shape[1]:
            self.split_rows(a[:, 0], rest)
        elif rest.shape[1] == 1 and a.shape[1]:
            self.split_rows(rest[:, 0], a)
        else:
            self.pin(a, f"{why} of dimensions that are made of different parts")
            self.pin(rest, f"{why} of dimensions that are made of different parts")

    def _unite_columns(self, a: Array, b: Array) -> None:
        known = a >= 0
        self.unite(a[known], b[known])

    def split_rows(self, wholes: Array, parts: Array) -> None:
        """Each of ``wholes``, (n,), is gone exactly when any in its row of ``parts``, (n, k), is; -1 where there is
        none: what belongs to no whole, or has no parts, stays.
        """
        roots = self.find(wholes)
        if (roots >= 0).all() and (parts >= 0).all() and self._are_plain(roots, self.find(parts)):
            self._parts.update(zip(roots.tolist(), map(tuple, parts.tolist()), strict=True))
            self._is_split[roots] = True
            return
        for whole, row in zip(wholes.tolist(), parts.tolist(), strict=True):
            some = [i for i in row if i >= 0]
            if whole >= 0 and some:
                self.split(whole, some)
            else:
                self.pin(np.array([[whole, *some]]), f"parts that do not fit together in {self.where}")

    def _are_plain(self, roots: Array, parts: Array) -> bool:
        """Whether these are different, unsplit and free, and none of them a part: the usual case, done at once."""
        distinct = np.unique(roots)
        return (
            len(distinct) == len(roots)
            and parts.shape[1] > 1
            and not self._is_split[distinct].any()
            and not self._is_split[np.unique(parts)].any()
            and not np.isin(distinct, parts).any()
            and self._reasons.keys().isdisjoint(distinct.tolist())
            and not (np.sort(parts, 1)[:, 1:] == np.sort(parts, 1)[:, :-1]).any()
        )


def _pattern(column: Array) -> bytes:
    """Equal for columns whose values repeat at the same places; columns with a gap match none."""
    if (column < 0).any():
        return column.tobytes()
    _, first, inverse = np.unique(column, return_index=True, return_inverse=True)
    return first[inverse].tobytes()


def _without_repetition(ids: Array) -> Array:
    """Repeated ids of a row and empty or repeated columns left out; at least one column stays."""
    if ids.shape[1] == 1:
        return ids
    ids = ids.copy()
    for column in range(1, ids.shape[1]):
        ids[(ids[:, :column] == ids[:, [column]]).any(1), column] = -1
    kept = (ids >= 0).any(0)
    return ids[:, kept] if kept.any() else ids[:, :1]
