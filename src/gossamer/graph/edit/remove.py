"""Remove channels from a graph: weights lose indices, and the numbers written in operators follow."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gossamer.errors import GraphError
from gossamer.graph.channels.flow import Flow
from gossamer.graph.channels.groups import ChannelGroup, Channels, kept
from gossamer.graph.channels.ids import Array
from gossamer.graph.edit.literals import Removal, rewrite
from gossamer.graph.module import Graph
from gossamer.graph.transform import original, owner_of, transforms


def remove_units(channels: Channels, keep: Mapping[str, Tensor], graph: Graph | None = None) -> Graph:
    """A copy of the graph without the units that ``keep`` (bool, shape (units,), by group name) says False for.

    What is left computes what the whole graph computes once every removed channel adds nothing to whatever sums over
    it; norms and means over channels are over those that are left. ``graph``: one of the same nodes with other values
    in its weights, to be copied in place of the one that was analysed. Raises GraphError for a group that cannot be
    pruned or of which nothing would be left.
    """
    gone = [np.zeros(0, np.int64)]
    for name, mask in keep.items():
        group = channels.named(name)
        chosen = np.asarray(mask.cpu().numpy(), bool)
        _check(group, chosen)
        gone.append(group.ids[~chosen])
    new = without(channels.flow, np.concatenate(gone), graph)
    new.units_before = {**{name: channels.named(name).units for name in keep}, **new.units_before}
    return new


def _check(group: ChannelGroup, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
    if chosen.shape != (group.units,):
        raise GraphError(f"{group.name!r} has {group.units} units; the choice has shape {chosen.shape}")
    if not chosen.all() and group.refused:
        raise GraphError(f"{group.name!r} cannot be pruned: {group.refused}")
    if not chosen.any():
        raise GraphError(f"all units of {group.name!r} would be removed: keep at least one")


def without(flow: Flow, removed: Array, graph: Graph | None = None) -> Graph:
    """A copy of the flow's graph, or of one with the same nodes, without the ids ``removed``."""
    new = copy.deepcopy(graph or flow.graph)
    for name, dims in flow.axes.items():
        for axis, dim in enumerate(dims):
            left = kept(flow, dim, removed)
            if dim.size and not len(left):
                raise GraphError(f"nothing would be left of {name!r}, axis {axis}: keep more of its groups")
            if len(left) < dim.size:
                _narrow(new, name, axis, torch.from_numpy(left))
    removal = Removal(flow, removed, new)
    for old, node in zip(list(flow.graph.graph.nodes), list(new.graph.nodes), strict=True):
        removal.now[old] = node
    for old in flow.graph.graph.nodes:
        rewrite(removal, old)
    new._tie()
    new.graph.lint()
    new.recompile()
    return new


def _narrow(graph: Graph, name: str, axis: int, left: Tensor) -> None:
    """Keep these indices of one axis of a weight, of its transforms, and of its gradient's place."""
    owner, last = owner_of(graph, name)
    weight = original(graph, name)
    left = left.to(weight.device)
    small = weight.detach().index_select(axis, left).clone()
    steps = [step.narrowed(tuple(weight.shape), axis, left) for step in transforms(graph, name)]
    if isinstance(weight, nn.Parameter):
        small = nn.Parameter(small, requires_grad=weight.requires_grad)
    if not steps:
        holder = owner._parameters if last in owner._parameters else owner._buffers
        holder[last] = small  # type: ignore[assignment]
        return
    chain = cast(parametrize.ParametrizationList, cast(nn.ModuleDict, owner.parametrizations)[last])
    if isinstance(small, nn.Parameter):
        chain.register_parameter("original", small)
    else:
        chain.register_buffer("original", small)
    for place, step in enumerate(steps):
        chain[place] = step.train(owner.training)
