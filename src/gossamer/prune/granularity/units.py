"""Channels and attention heads, physically removed: :mod:`gossamer.graph.channels` says what goes with each.

Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets. 2017 (channels). Michel, Levy, Neubig: Are
Sixteen Heads Really Better than One? 2019 (heads). Fang, Ma, Song, Mi, Wang: DepGraph: Towards Any Structural Pruning.
2023 (scores pooled over everything that goes together).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gossamer.errors import RecipeError
from gossamer.graph import ChannelGroup, Graph, Layer, Member, analyse, note, original, remove_units
from gossamer.graph.channels import Channels as Analysis

from .granularity import Granularity, Groups


class _Units(Granularity):
    """Units of channel groups of one kind."""

    kind: ClassVar[str]

    def groups(self, graph: Graph, layers: Sequence[Layer]) -> list[Groups]:
        """See :class:`Granularity`. A group is taken when every layer that makes its units is in ``layers``."""
        analysis = analyse(graph)
        known = {layer.weight: layer for layer in analysis.layers}
        chosen = {layer.weight for layer in layers}
        taken = []
        for group in (group for group in analysis.groups if group.kind == self.kind):
            within = [m for m in group.members if m.weight in known]
            made = {m.weight for m in within if m.makes} or {m.weight for m in within}
            asked = {name for name in made if known[name].kind != "embedding"} or made
            if group.refused is not None and asked & chosen:
                note(group.name, f"{self} leaves it whole: {group.refused}")
            elif group.refused is None and asked <= chosen and (asked or _is_width(graph, group)):
                taken.append(group)
        return [_Group(graph, analysis, group, self._step(group)) for group in _independent(taken)]

    def _step(self, group: ChannelGroup) -> int:
        """Kept units are a multiple of this."""
        del group
        return 1

    def removed(self, graph: Graph, groups: Sequence[Groups], kept: Mapping[str, Tensor]) -> Graph:
        """See :class:`Granularity`: the units are gone, and the shapes smaller."""
        ours = [each for each in groups if isinstance(each, _Group)]
        left = {each.name: kept[each.name][: each.present] for each in ours}
        return remove_units(ours[0].analysis, left, graph)


@final
@dataclass(frozen=True)
class Channels(_Units):
    """Channels, neurons, hidden units, and dimensions within heads, removed wherever they occur.

    Widths are rounded up to a multiple of ``round_to``, which is what kernels compute at a time; groups of no more
    channels than that are not rounded, and 1 switches it off. What cannot be pruned is noted, with the operator that
    forbids it. Raises RecipeError for ``round_to`` below 1.
    """

    round_to: int = 8
    kind: ClassVar[str] = "channels"

    def __post_init__(self) -> None:
        if self.round_to < 1:
            raise RecipeError(f"{self}: round_to is 1 (no rounding) or more")

    def _step(self, group: ChannelGroup) -> int:
        first = group.members[0]
        wide = len(first.indices) // group.units
        return (
            self.round_to // math.gcd(self.round_to, max(1, wide))
            if len(first.indices) > self.round_to
            else 1
        )


@final
@dataclass(frozen=True)
class Heads(_Units):
    """Whole attention heads; with grouped queries, keys and values together with the queries that share them."""

    kind: ClassVar[str] = "heads"


def _is_width(graph: Graph, group: ChannelGroup) -> bool:
    """Whether a group in no layer's weight is a width of the network: two parameters meet in it (products written with
    einsum). Positions and numbers of queries lie in one alone.
    """
    parameters = {name for name, _ in graph.named_parameters()}
    return len({m.weight for m in group.members if m.weight in parameters}) > 1


def _independent(groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
    """Without groups whose channels are all in another one: a width is cut once. The one of most units is taken.

    A grouped convolution can lose whole groups or some channels of each; with grouped queries, heads go with the keys
    and values that they share, or some of each such set.
    """

    def places(group: ChannelGroup) -> set[tuple[str, int, int]]:
        makers = [m for m in group.members if m.makes] or group.members
        return {(m.weight, m.axis, int(i)) for m in makers for i in m.indices}

    covered: dict[tuple[str, int, int], str] = {}
    taken = []
    for group in sorted(groups, key=lambda g: (-len(places(g)), -g.units)):
        own = places(group)
        others = {covered[place] for place in own if place in covered}
        if own <= covered.keys():
            note(group.name, f"not cut by itself: its channels are those of {', '.join(sorted(others))}")
        else:
            taken.append(group)
            covered |= dict.fromkeys(own, group.name)
    return [group for group in groups if group in taken]


class _Group(Groups):
    """The units of one channel group; those that were removed before come after those that are there."""

    def __init__(self, graph: Graph, analysis: Analysis, group: ChannelGroup, step: int) -> None:
        self.name, self.analysis, self.present, self._step = group.name, analysis, group.units, step
        self.count = max(group.units, graph.units_before.get(group.name, 0))
        known = {layer.weight for layer in analysis.layers}
        members = [m for m in group.members if m.weight in known] or list(group.members)
        makers = [m for m in members if m.makes] or members
        self._makers = tuple(dict.fromkeys(m.weight for m in makers))
        self.weights = tuple(dict.fromkeys(m.weight for m in (*makers, *members)))
        self._shapes = {name: tuple(original(graph, name).shape) for name in self.weights}
        self._places = [(m.weight, m.axis, *_table(m, group.units)) for m in members]
        self.size = sum(
            table.shape[1] * math.prod(self._shapes[name]) // self._shapes[name][axis]
            for name, axis, table, _ in self._places
        )

    @property
    def named(self) -> tuple[str, ...]:
        return self._makers

    def gather(self, values: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for name, axis, table, empty in self._places:
            rows = values[name].movedim(axis, 0).flatten(1)
            part = rows[table.to(rows.device)].masked_fill(empty.to(rows.device)[..., None], 0)
            parts.append(part.flatten(1))
        return pad(torch.cat(parts, 1), (0, 0, 0, self.count - self.present))

    def spread(self, kept: Tensor) -> dict[str, Tensor]:
        masks = {
            name: torch.ones(shape, dtype=torch.bool, device=kept.device)
            for name, shape in self._shapes.items()
        }
        for name, axis, table, empty in self._places:
            gone = ~kept[: self.present].cpu()
            places = table[gone][~empty[gone]]
            masks[name].index_fill_(axis, places.to(kept.device), value=False)
        return masks

    def settled(self, kept: Tensor, scores: Tensor) -> Tensor:
        """See :class:`Groups`: one at least, and a multiple of the step, the best of those that were to go."""
        wanted = max(1, int(kept[: self.present].sum()))
        wanted = min(self.present, -(-wanted // self._step) * self._step)
        order = torch.where(kept, torch.inf, scores)[: self.present].argsort(descending=True, stable=True)
        settled = torch.zeros_like(kept)
        settled[order[:wanted]] = True
        return settled


def _table(member: Member, units: int) -> tuple[Tensor, Tensor]:
    """The indices of every unit, (units, most), filled up with index 0, and where it was filled."""
    counts = np.bincount(member.units, minlength=units)
    order = np.argsort(member.units, kind="stable")
    column = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((units, counts.max()), -1)
    table[member.units[order], column] = member.indices[order]
    return torch.from_numpy(np.maximum(table, 0)), torch.from_numpy(table < 0)
