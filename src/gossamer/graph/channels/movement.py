"""Operators that move elements without computing: view, permute, slice, split, cat ...

The operator itself is run on tensors of ids, so that what comes out says where every element came from. A factor of
an index that ends up along one dimension belongs to that dimension; one that is spread over several is split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from gossamer.graph.channels.flow import Flow, Label
from gossamer.graph.channels.ids import Array, Dim, fixed
from gossamer.graph.transform import effective

Run = Callable[[Tensor], Tensor]


def moved(flow: Flow, given: Label, run: Run) -> Label:
    """The dimensions of ``run(x)`` for a tensor ``x`` of the dimensions ``given``."""
    shape = [dim.size for dim in given]
    sizes = run(torch.empty(shape, dtype=torch.uint8)).shape
    columns: list[list[Array]] = [[] for _ in sizes]
    for place, dim in enumerate(given):
        for column in flow.ids.resolve(dim.ids).T:
            if (column >= 0).any():
                _follow(flow, column, place, shape, run, columns)
    return tuple(
        Dim(np.stack(some, 1), _why(given, size) or flow.here)
        if some
        else fixed(size, _why(given, size) or flow.here)
        for some, size in zip(columns, sizes, strict=True)
    )


def _why(given: Label, size: int) -> str:
    """What keeps a dimension of this size in its place: what keeps the one of this size that was given."""
    return next(
        (dim.why for dim in given if dim.size == size), next((d.why for d in given[::-1] if d.why), "")
    )


def _follow(
    flow: Flow, column: Array, place: int, shape: list[int], run: Run, columns: list[list[Array]]
) -> None:
    """Add where the ids of one factor of one dimension went."""
    aligned = [1] * len(shape)
    aligned[place] = -1
    got = run(torch.from_numpy(np.ascontiguousarray(column)).view(aligned).expand(shape))
    if not got.numel():
        return
    varies = [d for d in range(got.ndim) if _varies(got, d)]
    for dimension in range(got.ndim):
        if dimension not in varies:
            got = got.narrow(dimension, 0, min(1, got.shape[dimension]))
    spread = got.reshape([got.shape[d] for d in varies]).numpy()
    if not varies:
        one = len(np.unique(column)) == 1
        why = f"all channels together in {flow.here}" if one else f"selected by {flow.here}"
        flow.ids.pin(spread.reshape(-1, 1), why)
    elif len(varies) == 1:
        columns[varies[0]].append(spread)
    else:
        parts = _split(flow, spread)
        for dimension, part in zip(varies, parts, strict=True):
            columns[dimension].append(part)


def _varies(values: Tensor, dimension: int) -> bool:
    if values.shape[dimension] <= 1 or values.stride(dimension) == 0:
        return False
    return not bool((values == values.narrow(dimension, 0, 1)).all())


def _split(flow: Flow, grid: Array) -> list[Array]:
    """Ids that are spread over several dimensions: each one becomes the set of a new id for every dimension."""
    parts = [flow.ids.fresh(size)[:, 0] for size in grid.shape]
    places = np.indices(grid.shape).reshape(len(parts), -1)
    rows = np.stack([part[place] for part, place in zip(parts, places, strict=True)], 1)
    flow.ids.split_rows(grid.reshape(-1), rows)
    return parts


def split(flow: Flow, dim: Dim, sizes: Sequence[int]) -> list[Dim]:
    """``dim`` as the row-major product of dimensions of ``sizes``."""
    return list(moved(flow, (dim,), lambda x: x.reshape(*sizes)))


def plain(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Any:
    """Any operator that moves the elements of its first argument: run it."""
    names = list(arguments)
    rest = {name: flow.value(arguments[name]) for name in names[1:]}
    target: Any = node.target

    def run(x: Tensor) -> Any:
        return target(x.contiguous(), **rest)

    given = flow.label(arguments[names[0]])
    value = flow.values[node]
    if isinstance(value, Tensor):
        return moved(flow, given, run)
    results = [moved(flow, given, partial(_part, run, place)) for place in range(len(value))]
    for result in results:
        for dim in result:
            if dim.free:
                flow.parts.append(flow.ids.resolve(dim.ids))
    return results


def _part(run: Callable[[Tensor], Any], place: int, x: Tensor) -> Tensor:
    part: Tensor = run(x)[place]
    return part


def view(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label:
    """view, reshape, flatten, unflatten: the shape that came out is all that counts."""
    return moved(flow, flow.label(node.all_input_nodes[0]), lambda x: x.reshape(flow.shape(node)))


def cut(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label:
    """slice, narrow: some indices of one dimension, which may not all go."""
    given = list(flow.label(arguments["self"]))
    axis = int(arguments["dim"])
    start, end, step, length = (
        flow.value(arguments.get(name)) for name in ("start", "end", "step", "length")
    )
    rows = slice(start, end, step) if length is None else slice(start, start + length)
    if any(bound is not None and not isinstance(bound, int) for bound in (start, end, step)):
        return plain(flow, node, arguments)  # type: ignore[no-any-return]
    given[axis] = given[axis].at(rows)
    if given[axis].free:
        flow.parts.append(flow.ids.resolve(given[axis].ids))
        if given[axis].size == 1:
            flow.pin(given[axis], "selected by")
    return tuple(given)


def expand(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label:
    """expand: copies along a dimension are alike, so any of them may go; with expand_as, as many as there are."""
    given = flow.label(arguments["self"])
    shape = flow.shape(node)
    sizes = arguments.get("size") or []
    other = flow.label(arguments.get("other"))
    new = len(shape) - len(given)
    result = []
    for place, size in enumerate(shape):
        own = given[place - new] if place >= new else None
        literal = place < len(sizes) and isinstance(sizes[place], int)
        if own is not None and (own.size == size or size == 1):
            if other:
                flow.tie(own, other[place])
            result.append(own)
        elif other:
            result.append(other[place])
        else:
            result.append(flow.fresh(size) if literal else flow.stuck(size))
    return tuple(result)


def cat(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label:
    """cat: the indices one after the other; the other dimensions agree."""
    labels = [flow.label(tensor) for tensor in arguments["tensors"]]
    labels = [label for label in labels if label]
    axis = int(flow.value(arguments["dim"])) % len(labels[0])
    result = list(labels[0])
    for label in labels[1:]:
        for place, dim in enumerate(label):
            if place != axis:
                flow.tie(result[place], dim)
    result[axis] = joined([label[axis] for label in labels])
    return tuple(result)


def joined(dims: list[Dim]) -> Dim:
    """The indices of several dimensions, one after the other."""
    width = max(dim.ids.shape[1] for dim in dims)
    rows = [np.pad(dim.ids, ((0, 0), (0, width - dim.ids.shape[1])), constant_values=-1) for dim in dims]
    return Dim(np.concatenate(rows), next((dim.why for dim in dims if dim.why), ""))


def stack(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label:
    """stack: a new dimension, along which every tensor stays."""
    labels = [flow.label(tensor) for tensor in arguments["tensors"]]
    for label in labels[1:]:
        for first, other in zip(labels[0], label, strict=True):
            flow.tie(first, other)
    result = list(labels[0])
    axis = int(flow.value(arguments["dim"])) % (len(result) + 1)
    result.insert(axis, flow.stuck(len(labels)))
    return tuple(result)


def shuffle(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label:
    """pixel_shuffle: (c r r) rows columns -> c (rows r) (columns r); the r stay."""
    *before, channels, rows, columns = flow.label(arguments["self"])
    factor = int(arguments["upscale_factor"])
    own, *squares = split(flow, channels, (channels.size // factor**2, factor, factor))
    for dim in squares:
        flow.pin(dim)
    _positions(flow, (rows, columns))
    return (*before, own, flow.stuck(rows.size * factor), flow.stuck(columns.size * factor))


def unshuffle(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label:
    """pixel_unshuffle: c (rows r) (columns r) -> (c r r) rows columns."""
    *before, channels, rows, columns = flow.label(arguments["self"])
    factor = int(arguments["downscale_factor"])
    _positions(flow, (rows, columns))
    many = channels.at(np.repeat(np.arange(channels.size), factor**2))
    return (*before, many, flow.stuck(rows.size // factor), flow.stuck(columns.size // factor))


def _positions(flow: Flow, dims: Label) -> None:
    for dim in dims:
        flow.pin(dim, "positions in")


def channel_shuffle(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label:
    """channel_shuffle: (groups n) -> (n groups); every group stays."""
    label = list(flow.label(arguments["self"]))
    groups = int(arguments["groups"])
    own = split(flow, label[1], (groups, label[1].size // groups))
    flow.pin(own[0])
    label[1] = moved(flow, tuple(own), lambda x: x.t().reshape(-1))[0]
    return tuple(label)


def rigid(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Any:
    """roll, unfold and others whose numbers count along the dimensions that they move: these stay."""
    first = next(iter(arguments))
    given = flow.label(arguments[first])
    dims = arguments.get("dims", arguments.get("dimension", arguments.get("dim")))
    listed = dims if isinstance(dims, (list, tuple)) else [dims]
    for place in listed or range(len(given)):
        flow.pin(given[int(place)] if given else fixed(1, ""))
    return plain(flow, node, arguments)


def pad(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label:
    """pad: new indices along padded dimensions, which may go like any others; negative amounts cut."""
    given = list(flow.label(arguments["self"]))
    amounts = arguments["pad"]
    for pair in range(len(amounts) // 2):
        place = len(given) - 1 - pair
        before, after = amounts[2 * pair : 2 * pair + 2]
        size = flow.shape(node)[place]
        if before == after == 0:
            continue
        if not given[place].free:
            given[place] = fixed(size, given[place].why)
        elif (
            arguments.get("mode", "constant") == "constant"
            and isinstance(before, int)
            and isinstance(after, int)
        ):
            given[place] = _padded(flow, given[place], before, after)
        else:
            flow.pin(given[place], "positions in")
            given[place] = flow.stuck(size, "positions in")
    return tuple(given)


def _padded(flow: Flow, dim: Dim, before: int, after: int) -> Dim:
    inner = dim.at(slice(max(0, -before), dim.size - max(0, -after)))
    if inner.size < dim.size:
        flow.parts.append(flow.ids.resolve(inner.ids))
    return joined([Dim(flow.ids.fresh(max(0, before))), inner, Dim(flow.ids.fresh(max(0, after)))])


def index(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label | None:
    """index_select with constant places: the places are rewritten; else the indexed dimension stays."""
    given = list(flow.label(arguments["self"]))
    axis = int(arguments["dim"]) % len(given)
    places = arguments["index"]
    if isinstance(places, Node) and places.op == "get_attr" and given[axis].free:
        given[axis] = given[axis].at(_constant_value(flow, str(places.target)))
        flow.weight(places, given[axis])
        return tuple(given)
    for dim in (given[axis], *flow.label(places)):
        flow.pin(dim)
    given[axis] = flow.stuck(flow.shape(node)[axis])
    return tuple(given)


def _constant_value(flow: Flow, name: str) -> Array:
    """The values of a constant."""
    return np.asarray(effective(flow.graph, name).cpu().numpy())


def take(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> Label | None:
    """x[indices]: dimensions that are indexed stay, the others go through."""
    given = flow.label(arguments["self"])
    places = [i for i, tensor in enumerate(arguments["indices"]) if tensor is not None]
    if len(places) == 1 and len(flow.label(arguments["indices"][places[0]])) == 1:
        one = {"self": arguments["self"], "dim": places[0], "index": arguments["indices"][places[0]]}
        return index(flow, node, one)
    indices = [flow.label(arguments["indices"][i]) for i in places]
    for place in places:
        flow.pin(given[place])
    for label in indices:
        for dim in label:
            flow.pin(dim)
    shape = flow.shape(node)
    rank = max(len(label) for label in indices)
    together = places == list(range(places[0], places[-1] + 1))
    first = places[0] if together else 0
    others = [dim for place, dim in enumerate(given) if place not in places]
    found = [flow.stuck(size) for size in shape[first : first + rank]]
    return (*others[:first], *found, *others[first:])
