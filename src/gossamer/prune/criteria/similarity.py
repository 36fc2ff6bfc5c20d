"""Similarity: units that do what another does go, and the other one does their work.

Srinivas, Babu: Data-free Parameter Pruning for Deep Neural Networks. 2015, equations 4 to 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from gossamer.graph import (
    ChannelGroup,
    Graph,
    Member,
    channel_groups,
    effective,
    layers,
    note,
    original,
    transforms,
)
from gossamer.task import Task

from ..mask import Mask
from .criterion import Criterion
from .filters import filters_of, shared_by_elements


@final
@dataclass(frozen=True)
class Similarity(Criterion):
    """s_ij = <a_j^2> ||w_i - w_j||^2: what it costs that unit i takes the place of unit j (equation 6).

    w_j is all that goes into the unit: its weights, biases and norms; <a_j^2> the mean square of its outgoing weights.
    Units are removed one after the other, each time the cheapest pair; the score is the cost at which a unit went,
    shared evenly by its weights. What goes is merged into the most similar unit that stays: its outgoing weights are
    added to that one's (equation 4), which is exact for duplicates. For ``Channels()``; smaller groups are scored by
    the unit that they are in, and nothing is merged.
    """

    def elements(self, graph: Graph, task: Task, weights: Sequence[str]) -> dict[str, Tensor]:
        """See :class:`Criterion`."""
        del task
        made: dict[str, Tensor] = {}
        for units in _units(graph):
            cost = removal_costs(units.costs()) / len(units.makers)
            made |= dict.fromkeys(units.makers, cost)
        found = {}
        for name in weights:
            weight = effective(graph, name)
            filters, axis = filters_of(graph, name, weight)
            cost = made.get(name, weight.new_zeros(0))
            if len(cost) != len(filters):
                cost = removal_costs(torch.cdist(filters, filters).square())
            found[name] = shared_by_elements(cost.to(weight), weight, axis)
        return found

    @torch.no_grad()
    def compensate(self, graph: Graph, task: Task, kept: Mapping[str, Tensor]) -> None:
        """See :class:`Criterion`."""
        del task
        for units in _units(graph):
            gone = units.gone(kept)
            if not bool(gone.any()) or bool(gone.all()):
                continue
            costs = units.costs().masked_fill(gone.unsqueeze(1), torch.inf)  # only units that stay take over
            heirs = costs.argmin(0)
            for member in units.consumers:
                _hand_over(graph, member, gone, heirs)


@dataclass(frozen=True, eq=False)
class _Units:
    """The units of one channel group, with what goes into them and what comes out."""

    graph: Graph
    group: ChannelGroup
    makers: tuple[str, ...]
    incoming: tuple[Member, ...]
    consumers: tuple[Member, ...]

    def costs(self) -> Tensor:
        """s_ij, (units, units): unit i takes the place of unit j; infinite on the diagonal."""
        rows = torch.cat([_of_units(self.graph, member, self.group.units) for member in self.incoming], 1)
        distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
        outgoing = [_of_units(self.graph, member, self.group.units) for member in self.consumers]
        if outgoing:
            distance = distance * torch.cat(outgoing, 1).square().mean(1)
        return distance.fill_diagonal_(torch.inf)

    def gone(self, kept: Mapping[str, Tensor]) -> Tensor:
        """Which units are removed altogether, rows and columns, bool (units,)."""
        members = [m for m in (*self.incoming, *self.consumers) if m.weight in kept]
        gone = torch.full((self.group.units,), bool(members))
        for member in members:
            mask = _rows(kept[member.weight], member.axis).any(1).cpu()
            alive = torch.zeros(self.group.units, dtype=torch.bool)
            alive[torch.from_numpy(member.units)[mask[torch.from_numpy(member.indices)]]] = True
            gone &= ~alive
        return gone


def _units(graph: Graph) -> Iterator[_Units]:
    known = {layer.weight for layer in layers(graph)}
    for group in channel_groups(graph):
        if group.kind != "channels" or group.refused is not None or group.units < 2:
            continue
        incoming = tuple(m for m in group.members if m.makes or m.weight not in known)
        makers = tuple(dict.fromkeys(m.weight for m in group.members if m.makes and m.weight in known))
        consumers = tuple(m for m in group.members if not m.makes and m.weight in known)
        if makers and all(_is_even(m, group.units) for m in (*incoming, *consumers)):
            yield _Units(graph, group, makers, incoming, consumers)


def _rows(values: Tensor, axis: int) -> Tensor:
    """(length of the axis, everything else)."""
    return values.movedim(axis, 0).reshape(values.shape[axis], -1)


def _is_even(member: Member, units: int) -> bool:
    """Whether every unit has as many indices."""
    return len(set(np.bincount(member.units, minlength=units).tolist())) == 1


def _of_units(graph: Graph, member: Member, units: int) -> Tensor:
    """(units, elements), on the CPU in float64: what of a weight belongs to each unit."""
    rows = _rows(effective(graph, member.weight), member.axis).double().cpu()
    return rows[torch.from_numpy(_places(member, units))].flatten(1)


def _places(member: Member, units: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The indices of each unit, (units, times), in order."""
    return member.indices[np.lexsort((member.indices, member.units))].reshape(units, -1)


def _hand_over(graph: Graph, member: Member, gone: Tensor, heirs: Tensor) -> None:
    """Add the outgoing weights of the units that are gone to those of their heirs, in place."""
    if not all(isinstance(step, Mask) for step in transforms(graph, member.weight)):
        note(member.weight, "Similarity does not merge into it: it is under a transform")
        return
    weight = original(graph, member.weight)
    places = torch.from_numpy(_places(member, len(gone))).to(weight.device)
    columns = weight.movedim(member.axis, 0)
    source = effective(graph, member.weight).movedim(member.axis, 0)
    for unit in gone.nonzero().flatten().tolist():
        columns[places[heirs[unit]]] += source[places[unit]]


def removal_costs(costs: Tensor) -> Tensor:
    """(n,), from s_ij: the cost at which each unit goes when the cheapest pair always is the next; the last goes never.

    Costs rise in the order of removal, so that any threshold removes units in that order.
    """
    left = costs.clone().double()
    left.fill_diagonal_(torch.inf)
    found = torch.full((len(left),), -1.0, dtype=torch.float64)
    reached = 0.0
    for _ in range(len(left) - 1):
        pair = int(left.argmin())
        reached = max(reached * (1 + 1e-6) + 1e-30, float(left.flatten()[pair]))
        unit = pair % len(left)
        found[unit] = reached
        left[unit], left[:, unit] = torch.inf, torch.inf
    return torch.where(found < 0, 2 * reached + 1e-30, found)
