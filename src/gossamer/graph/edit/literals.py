"""Numbers that are written in operators and count channels: they follow when channels are removed.

One function per kind of operator; operators without one have no such numbers, or keep the dimensions that these
count along (:mod:`gossamer.graph.channels` pins them).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from gossamer.graph.channels.flow import Flow
from gossamer.graph.channels.groups import kept
from gossamer.graph.channels.ids import Array, Dim
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments, set_argument
from gossamer.graph.module import Graph
from gossamer.graph.transform import effective, original


@dataclass(eq=False)
class Removal:
    """What goes from where. ``now``: the node of the new graph for every node of the old one."""

    flow: Flow
    removed: Array
    graph: Graph
    now: dict[Node, Node] = field(default_factory=dict)

    def left(self, dim: Dim) -> Array:
        """The indices of ``dim`` that are left."""
        return kept(self.flow, dim, self.removed)

    def size(self, dim: Dim) -> int:
        """How many they are."""
        return len(self.left(dim))

    def shape(self, node: Any) -> tuple[int, ...]:
        """The new shape of what ``node`` gives."""
        return tuple(self.size(dim) for dim in self.flow.label(node))

    def number(self, argument: Any) -> int:
        """What a size is in the new graph, for a batch of two: sizes that are read off tensors shrink by themselves."""
        if not isinstance(argument, Node):
            return int(argument)
        if operator_name(argument) == "sym_size":
            tensor, place = argument.args[:2]
            return self.size(self.flow.label(tensor)[int(place)])  # type: ignore[arg-type]
        if argument.op == "call_function" and not isinstance(argument.target, torch._ops.OpOverload):
            target: Any = argument.target
            return int(target(*(self.number(a) for a in argument.args)))
        return int(self.flow.values[argument])

    def changes(self, node: Any) -> bool:
        """Whether the shape of what ``node`` gives changes."""
        labels = self.flow.labels.get(node)
        every = labels if isinstance(labels, list) else [labels]
        return any(self.size(dim) != dim.size for label in every for dim in label or ())


Rewrite = Callable[[Removal, Node, Node], None]


def rewrite(removal: Removal, old: Node) -> None:
    """Rewrite the numbers of one operator."""
    rule = _RULES.get(operator_name(old))
    touched = (old, *old.all_input_nodes)
    if rule is not None and any(removal.changes(node) for node in touched):
        rule(removal, old, removal.now[old])


def _sizes(removal: Removal, old: Node, new: Node) -> None:
    """view, reshape, expand, zeros ...: the sizes are those of the result."""
    name = next(n for n in ("size", "shape", "sizes") if n in arguments(old))
    given = list(arguments(new)[name])
    shape = removal.shape(old)
    offset = len(shape) - len(given)
    if operator_name(old) == "unflatten":
        offset = int(arguments(old)["dim"]) % len(removal.flow.label(arguments(old)["self"]))
    for place, size in enumerate(arguments(old)[name]):
        now = shape[place + offset]
        if isinstance(size, Node) and (was := removal.number(size)) != now:
            given[place] = _scaled(new, given[place], was, now)
        elif not isinstance(size, Node) and size != -1:
            given[place] = now
    if operator_name(old) in ("view", "_unsafe_view") and not any(_writes(user) for user in old.users):
        new.target = torch.ops.aten.reshape.default  # the layout of what it views may be another one now
        name = "shape"
    set_argument(new, name, given)


def _writes(node: Node) -> bool:
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def _scaled(before: Node, size: Node, was: int, now: int) -> Node:
    """A size that is computed from the batch size and becomes ``now / was`` of it."""
    common = math.gcd(was, now)
    graph = before.graph
    with graph.inserting_before(before):
        product = graph.call_function(operator.mul, (size, now // common))
        result = graph.call_function(operator.floordiv, (product, was // common))
    for node in (product, result):
        node.meta = dict(before.meta)
    return result


def _dimension(removal: Removal, old: Node) -> Dim:
    """The dimension of the first argument along which a slice or split goes."""
    given = removal.flow.label(arguments(old)["self"])
    return given[int(arguments(old).get("dim") or 0)]


def _slice(removal: Removal, old: Node, new: Node) -> None:
    """x[start:end:step] along one dimension."""
    dim, known = _dimension(removal, old), arguments(old)
    start, end, step = (removal.flow.value(known[name]) for name in ("start", "end", "step"))
    rows = range(dim.size)[slice(start, end, step)]
    left = removal.left(dim)
    if len(left) == dim.size or len(rows) == dim.size:
        return
    places = np.flatnonzero(np.isin(left, np.asarray(rows)))
    if not len(places):
        set_argument(new, "start", 0)
        set_argument(new, "end", 0)
        return
    steps = np.diff(places)
    if (
        len(set(steps.tolist())) > 1
    ):  # every second channel of those that were there: which these are is written down
        axis = int(known.get("dim") or 0)
        new.target = torch.ops.aten.index_select.default
        new.args, new.kwargs = (new.args[0], axis, _constant(removal, new, torch.from_numpy(places))), {}
        return
    set_argument(new, "start", int(places[0]))
    set_argument(new, "end", int(places[-1]) + 1)
    set_argument(new, "step", int(steps[0]) if len(steps) else 1)


def _constant(removal: Removal, before: Node, value: torch.Tensor) -> Node:
    """A new buffer, read before a node."""
    device = next((t.device for t in (*removal.graph.parameters(), *removal.graph.buffers())), value.device)
    name = f"{before.name}_places"
    while hasattr(removal.graph, name):
        name += "_"
    removal.graph.register_buffer(name, value.to(device))
    with before.graph.inserting_before(before):
        read = before.graph.create_node("get_attr", name)
    read.meta = dict(before.meta)
    return read


def _narrow(removal: Removal, old: Node, new: Node) -> None:
    """narrow(x, dim, start, length)."""
    dim, known = _dimension(removal, old), arguments(old)
    start, length = int(known["start"]), int(known["length"])
    left = removal.left(dim)
    set_argument(new, "start", int((left < start).sum()))
    set_argument(new, "length", int(((left >= start) & (left < start + length)).sum()))


def _select(removal: Removal, old: Node, new: Node) -> None:
    """x[index] along one dimension."""
    dim = _dimension(removal, old)
    index = int(arguments(old)["index"]) % dim.size
    set_argument(new, "index", int((removal.left(dim) < index).sum()))


def _split(removal: Removal, old: Node, new: Node) -> None:
    """split, chunk, tensor_split: the parts by their new sizes."""
    axis = int(arguments(old).get("dim") or 0)
    parts = removal.flow.labels[old]
    if removal.size(_dimension(removal, old)) == _dimension(removal, old).size:
        return
    sizes = [removal.size(label[axis]) for label in parts]
    new.target = torch.ops.aten.split_with_sizes.default
    new.args, new.kwargs = (new.args[0], sizes, axis), {}


def _layer_norm(removal: Removal, old: Node, new: Node) -> None:
    """The normalized shape."""
    shape = removal.shape(old)
    set_argument(new, "normalized_shape", list(shape[len(shape) - len(arguments(old)["normalized_shape"]) :]))


def _groups_left(removal: Removal, dim: Dim, groups: int) -> int:
    """How many groups of consecutive channels have any left."""
    return len(np.unique(removal.left(dim) // (dim.size // groups)))


def _group_norm(removal: Removal, old: Node, new: Node) -> None:
    """The number of groups."""
    channels = removal.flow.label(arguments(old)["input"])[1]
    set_argument(new, "num_groups", _groups_left(removal, channels, int(arguments(old)["num_groups"])))


def _convolution(removal: Removal, old: Node, new: Node) -> None:
    """The number of groups."""
    groups = int(arguments(old)["groups"])
    if groups > 1:
        channels = removal.flow.label(arguments(old)["input"])[1]
        set_argument(new, "groups", _groups_left(removal, channels, groups))


def _attention(removal: Removal, old: Node, new: Node) -> None:
    """The scale, one over the root of the size of a head: as it was."""
    size = removal.flow.label(arguments(old)["query"])[-1]
    if arguments(old).get("scale") is None and removal.size(size) != size.size:
        set_argument(new, "scale", size.size**-0.5)


def _pad(removal: Removal, old: Node, new: Node) -> None:
    """How much is added on either side, or cut off where it is negative."""
    amounts = list(arguments(old)["pad"])
    given, made = removal.flow.label(arguments(old)["self"]), removal.flow.label(old)
    for pair in range(len(amounts) // 2):
        place = len(given) - 1 - pair
        if removal.size(made[place]) == made[place].size:
            continue
        inside, outside = removal.left(given[place]), removal.left(made[place])
        before, after = amounts[2 * pair : 2 * pair + 2]
        end_in, end_out = given[place].size + min(after, 0), made[place].size - max(after, 0)
        amounts[2 * pair] = int((outside < before).sum()) - int((inside < -before).sum())
        amounts[2 * pair + 1] = int((outside >= end_out).sum()) - int((inside >= end_in).sum())
    set_argument(new, "pad", amounts)


def _index(removal: Removal, old: Node, new: Node) -> None:
    """index_select and x[..., constant]: the places among what is left."""
    known = arguments(old)
    if operator_name(old) == "index":
        axis = next(i for i, tensor in enumerate(known["indices"]) if tensor is not None)
        places = known["indices"][axis]
    else:
        axis, places = int(known["dim"]), known["index"]
    dim = removal.flow.label(known["self"])[axis]
    if not dim.free or removal.size(dim) == dim.size:
        return
    before = original(removal.graph, str(places.target))
    position = np.cumsum(np.isin(np.arange(dim.size), removal.left(dim))) - 1
    moved = torch.from_numpy(position).to(before.device)[before % dim.size]
    new.replace_input_with(removal.now[places], _constant(removal, new, moved))


def _weight_norm(removal: Removal, old: Node, new: Node) -> None:
    """g times the share of the norm that is left, so that the weights that are left stay what they were."""
    known = arguments(old)
    v, g = known["v"], known["g"]
    if v.op != "get_attr":
        return
    label, axis = removal.flow.label(v), int(known["dim"]) % len(removal.flow.label(v))
    whole = effective(removal.flow.graph, str(v.target))
    others = [place for place in range(len(label)) if place != axis]
    part = whole
    for place in others:
        part = part.index_select(place, torch.from_numpy(removal.left(label[place])).to(whole.device))
    norms = [torch.linalg.vector_norm(some, dim=others, keepdim=True) for some in (part, whole)]
    share = norms[0] / norms[1]
    share = share.index_select(axis, torch.from_numpy(removal.left(label[axis])).to(whole.device))
    with torch.no_grad():
        original(removal.graph, str(g.target)).mul_(share.nan_to_num(1.0))


_RULES: dict[str, Rewrite] = {
    name: rule
    for rule, names in {
        _sizes: "view reshape _unsafe_view unflatten expand broadcast_to zeros ones full empty new_zeros new_ones "
        "new_full new_empty rand randn",
        _slice: "slice",
        _narrow: "narrow",
        _select: "select",
        _split: "split split_with_sizes chunk tensor_split",
        _layer_norm: "layer_norm rms_norm",
        _group_norm: "group_norm",
        _convolution: "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d",
        _attention: "scaled_dot_product_attention",
        _pad: "pad constant_pad_nd",
        _index: "index_select index",
        _weight_norm: "_weight_norm _weight_norm_interface",
    }.items()
    for name in names.split()
}
