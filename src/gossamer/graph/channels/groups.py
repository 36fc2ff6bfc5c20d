"""Channel groups: the units that can be removed, with every slice of every weight that goes with them.

A *unit* is what lives or dies as one: a channel of a residual stream with its rows and columns in all layers that
write and read it, a hidden unit with its gates, an attention head. Units of one group are interchangeable: the
same axes of the same weights hold them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from gossamer.graph.channels.flow import Flow
from gossamer.graph.channels.ids import Array, Dim
from gossamer.graph.channels.walk import follow
from gossamer.graph.layers import Layer, layers
from gossamer.graph.module import Graph
from gossamer.graph.transform import original


@dataclass(frozen=True, eq=False)
class Member:
    """One axis of one parameter or buffer: unit ``units[i]`` of the group holds index ``indices[i]`` of it.

    ``makes``: whether the axis is its layer's output (its neurons, filters, embedded dimensions).
    """

    weight: str
    axis: int
    units: Array = field(repr=False)
    indices: Array = field(repr=False)
    makes: bool = False


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Units that are removed one by one, each wherever it occurs.

    ``name``: the first layer that makes them, with " heads" for attention heads; unique in the graph. ``kind``:
    "channels" or "heads". ``units``: how many there are. ``layers``: all layers that make them. ``parameters``: how
    many elements of the network's parameters belong to any of the units. ``refused``: why none can be removed, with
    the operator that forbids it; None where they can. ``ids``: of the units, shape (units,).
    """

    name: str
    kind: str
    units: int
    members: tuple[Member, ...] = field(repr=False)
    layers: tuple[str, ...]
    parameters: int
    refused: str | None
    ids: Array = field(repr=False)


@dataclass(frozen=True, eq=False)
class Channels:
    """A graph's groups, and the flow that they were read from."""

    flow: Flow = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)
    groups: tuple[ChannelGroup, ...]

    def named(self, name: str) -> ChannelGroup:
        """The group called ``name``."""
        return next(group for group in self.groups if group.name == name)


def channel_groups(graph: Graph) -> tuple[ChannelGroup, ...]:
    """Which channels, neurons and heads of ``graph`` move together, in the order of the layers that make them.

    Groups that cannot be pruned are there too, with the reason in ``refused``.
    """
    return analyse(graph).groups


def analyse(graph: Graph) -> Channels:
    """The groups with what removal needs to know."""
    flow, found = follow(graph), tuple(layers(graph))
    return Channels(flow, found, tuple(_Groups(flow, found).found()))


@dataclass(frozen=True)
class _Axis:
    weight: str
    axis: int
    makes: bool
    ids: Array


class _Key(NamedTuple):
    """What the units of one group have in common."""

    where: frozenset[int]
    families: frozenset[int]
    heads: bool
    why: str | None


class _Groups:
    """Collects the representatives by where they occur."""

    def __init__(self, flow: Flow, found: Sequence[Layer]) -> None:
        self.flow = flow
        self.order = {layer.weight: place for place, layer in enumerate(found)}
        self.outputs = {(layer.weight, layer.output_axis) for layer in found}
        self.axes = [
            _Axis(name, axis, (name, axis) in self.outputs, flow.ids.resolve(dim.ids))
            for name, dims in flow.axes.items()
            for axis, dim in enumerate(dims)
            if dim.free
        ]
        self.heads = _known(flow.ids.resolve(ids) for ids in flow.heads)
        self.reasons = self._reasons()

    def _reasons(self) -> dict[int, str]:
        """Why representatives stay: pinned, or because a tensor would be empty without one."""
        ids = self.flow.ids
        whole = [(axis.ids, axis.weight) for axis in self.axes]
        whole += [(ids.resolve(part), "a part of a tensor") for part in self.flow.parts]
        reasons: dict[int, str] = {}
        for some, name in whole:
            for root in np.unique(some[:1]).tolist():
                if root >= 0 and (some == root).any(1).all():
                    reasons[root] = f"nothing would be left of {name}"
        for axis in self.axes:
            for root in np.unique(axis.ids).tolist():
                reason = ids.reason(root)
                if reason:
                    reasons[root] = reason
        return reasons

    def found(self) -> list[ChannelGroup]:
        together: dict[_Key, list[int]] = defaultdict(list)
        places = self._places()
        families = self.flow.ids.families(np.array([r for r in places if r not in self.reasons], np.int64))
        for root, where in places.items():
            reason = self.reasons.get(root)
            if min(where) >= len(self.axes):
                continue  # of constants alone
            if reason is None:
                key = _Key(where, families[root], root in self.heads, None)
            elif any(0 <= number < len(self.axes) and self.axes[number].makes for number in where):
                key = _Key(where, frozenset(), root in self.heads, reason)
            else:
                continue
            together[key].append(root)
        groups = [self._group(key, roots) for key, roots in together.items()]
        groups.sort(key=lambda pair: pair[0])
        return _named(_worth_saying([group for _, group in groups]))

    def _places(self) -> dict[int, frozenset[int]]:
        """For every representative the numbers of the axes, and of the parts, in which it occurs."""
        occurs: dict[int, list[int]] = defaultdict(list)
        for number, axis in enumerate(self.axes):
            for root in np.unique(axis.ids).tolist():
                occurs[root].append(number)
        for number, part in enumerate(self.flow.parts, start=len(self.axes)):
            for root in np.unique(self.flow.ids.resolve(part)).tolist():
                occurs[root].append(number)
        occurs.pop(-1, None)
        return {root: frozenset(numbers) for root, numbers in occurs.items()}

    def _group(self, key: _Key, roots: list[int]) -> tuple[tuple[int, ...], ChannelGroup]:
        axes = [self.axes[number] for number in sorted(key.where) if number < len(self.axes)]
        last = len(self.order)
        axes.sort(key=lambda axis: (not axis.makes, self.order.get(axis.weight, last)))
        first = axes[0].ids
        position = {root: int(np.argmax((first == root).any(1))) for root in roots}
        roots = sorted(roots, key=lambda root: (position[root], root))
        why = key.why or ("a single unit" if len(roots) == 1 else None)
        members = tuple(_member(axis, np.array(roots)) for axis in axes)
        makers = tuple(dict.fromkeys(m.weight.removesuffix(".weight") for m in members if m.makes))
        name = makers[0] if makers else axes[0].weight.removesuffix(".weight")
        group = ChannelGroup(
            name=name + (" heads" if key.heads else ""),
            kind="heads" if key.heads else "channels",
            units=len(roots),
            members=members,
            layers=makers or (name,),
            parameters=self._parameters(members),
            refused=why,
            ids=np.array(roots),
        )
        return (self.order.get(axes[0].weight, last), position[roots[0]], not key.heads, roots[0]), group

    def _parameters(self, members: Iterable[Member]) -> int:
        """Elements of parameters in any of the slices."""
        rest: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for member in members:
            rest[member.weight].append((member.axis, len(np.unique(member.indices))))
        total = 0
        for name, cuts in rest.items():
            weight = original(self.flow.graph, name)
            if weight.requires_grad or name in self.order:
                left = np.array(weight.shape)
                for axis, count in cuts:
                    left[axis] -= count
                total += weight.numel() - int(left.prod())
        return total


def _known(several: Iterable[Array]) -> set[int]:
    found: set[int] = set()
    for ids in several:
        found.update(np.unique(ids).tolist())
    return found - {-1}


def _member(axis: _Axis, roots: Array) -> Member:
    """Where the units of a group are along one axis, in order of the indices."""
    order = np.argsort(roots)
    indices, columns = np.nonzero(np.isin(axis.ids, roots))
    units = order[np.searchsorted(roots[order], axis.ids[indices, columns])]
    return Member(axis.weight, axis.axis, units.astype(np.int64), indices.astype(np.int64), axis.makes)


def _worth_saying(groups: list[ChannelGroup]) -> list[ChannelGroup]:
    """Without refused groups whose every index belongs to another group too: the gates of an LSTM, the number of
    groups of a convolution. The larger one of two refused ones stays.
    """

    def places(group: ChannelGroup) -> set[tuple[str, int, int]]:
        return {(m.weight, m.axis, int(i)) for m in group.members if m.makes for i in m.indices}

    kept: list[ChannelGroup] = []
    covered: set[tuple[str, int, int]] = set()
    for group in sorted(groups, key=lambda g: (g.refused is not None, -g.units)):
        own = places(group)
        if group.refused is None or not own <= covered:
            kept.append(group)
            covered |= own
    return [group for group in groups if group in kept]


def _named(groups: list[ChannelGroup]) -> list[ChannelGroup]:
    """The same groups; those whose name was taken get a number."""
    taken: dict[str, int] = defaultdict(int)
    named = []
    for group in groups:
        taken[group.name] += 1
        count = taken[group.name]
        named.append(group if count == 1 else replace(group, name=f"{group.name} ({count})"))
    return named


def kept(flow: Flow, dim: Dim, removed: Array) -> Array:
    """The indices of a dimension that are left without the ids ``removed``, in order."""
    if not dim.free or not len(removed):
        return np.arange(dim.size)
    return np.flatnonzero(~np.isin(flow.ids.resolve(dim.ids), removed).any(1))
