"""Operators that multiply and add: what is summed over must agree on both sides, the rest goes to the result."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.fx import Node

from gossamer.graph.channels.flow import Flow, Label
from gossamer.graph.channels.ids import Dim
from gossamer.graph.channels.movement import split

Arguments = Mapping[str, Any]


def linear(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """x (..., i), weight (o, i), bias (o) -> (..., o)."""
    x, weight = flow.label(arguments["input"]), flow.label(arguments["weight"])
    flow.tie(x[-1], weight[-1])
    if len(weight) == 1:
        return x[:-1]
    flow.weight(arguments.get("bias"), weight[0])
    return (*x[:-1], weight[0])


def matmul(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """(..., n, m) @ (..., m, p) -> (..., n, p), leading dimensions broadcast."""
    first, second = node.all_input_nodes[0], node.all_input_nodes[-1]
    return _product(flow, first, second)


def _product(flow: Flow, first: Node, second: Node) -> Label:
    a, b = flow.label(first), flow.label(second)
    flow.tie(a[-1], b[-2] if len(b) > 1 else b[-1])
    batch = _batch(flow, a[:-2], b[:-2], first.op != "get_attr" and second.op != "get_attr")
    rows = (a[-2],) if len(a) > 1 else ()
    columns = (b[-1],) if len(b) > 1 else ()
    return (*batch, *rows, *columns)


def _batch(flow: Flow, first: Label, second: Label, activations: bool) -> Label:
    """Leading dimensions, aligned at the end. Along those that both have, the product is many side by side."""
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    result = list(longer)
    for place, dim in enumerate(shorter, start=len(longer) - len(shorter)):
        other = result[place]
        if dim.size != other.size:
            result[place] = dim if other.size == 1 else other
            continue
        flow.tie(other, dim)
        if activations and other.free:
            flow.heads.append(other.ids)
    return tuple(result)


def addmm(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """c + a @ b."""
    names = [name for name in arguments if isinstance(arguments[name], Node)]
    result = _product(flow, arguments[names[1]], arguments[names[2]])
    added = flow.label(arguments[names[0]])
    for place, dim in enumerate(added, start=len(result) - len(added)):
        if dim.size == result[place].size:
            flow.tie(result[place], dim)
    return result


def bilinear(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """x1 (..., i), x2 (..., j), weight (o, i, j)."""
    first, second, weight = (flow.label(arguments[name]) for name in ("input1", "input2", "weight"))
    flow.tie(first[-1], weight[1])
    flow.tie(second[-1], weight[2])
    flow.weight(arguments.get("bias"), weight[0])
    return (*first[:-1], weight[0])


def einsum(flow: Flow, node: Node, arguments: Arguments) -> Label | None:
    """Dimensions of one letter agree."""
    operands = [flow.label(operand) for operand in arguments["tensors"]]
    terms, result = _letters(str(arguments["equation"]).replace(" ", ""), [len(label) for label in operands])
    if any(len(set(term)) < len(term) for term in terms):
        return None  # a diagonal
    dims: dict[str, Dim] = {}
    activations = len(operands) > 1 and all(operand.op != "get_attr" for operand in arguments["tensors"])
    for term, label in zip(terms, operands, strict=True):
        for letter, dim in zip(term, label, strict=True):
            if letter not in dims or dims[letter].size == 1:
                dims[letter] = dim
            elif dim.size > 1:
                flow.tie(dims[letter], dim)
                if activations and letter in result and dim.free:
                    flow.heads.append(dim.ids)
    return tuple(dims[letter] for letter in result)


def _letters(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """The terms and the result with a letter for every dimension, those under "..." too."""
    free = [letter for letter in string.ascii_letters if letter not in equation]
    given, arrow, result = equation.partition("->")
    terms = []
    for term, rank in zip(given.split(","), ranks, strict=True):
        hidden = rank - len(term.replace("...", ""))
        terms.append(term.replace("...", "".join(free[:hidden][::-1])))
    most = max(
        len(term) - len(old.replace("...", "")) for term, old in zip(terms, given.split(","), strict=True)
    )
    rest = "".join(free[:most][::-1]) if "..." in given else ""
    if not arrow:
        once = [letter for letter in set(given) - set(".,") if given.count(letter) == 1]
        result = "..." + "".join(sorted(once))
    return terms, result.replace("...", rest)


def tensordot(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """Summed over pairs of dimensions."""
    first, second = flow.label(arguments["self"]), flow.label(arguments["other"])
    ours = [int(d) % len(first) for d in arguments["dims_self"]]
    theirs = [int(d) % len(second) for d in arguments["dims_other"]]
    for a, b in zip(ours, theirs, strict=True):
        flow.tie(first[a], second[b])
    left = [dim for place, dim in enumerate(first) if place not in ours]
    return (*left, *(dim for place, dim in enumerate(second) if place not in theirs))


def distances(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """cdist: x1 (..., p, m), x2 (..., r, m) -> (..., p, r)."""
    first, second = flow.label(arguments["x1"]), flow.label(arguments["x2"])
    flow.tie(first[-1], second[-1])
    return (*_batch(flow, first[:-2], second[:-2], False), first[-2], second[-2])


def outer(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """(n), (m) -> (n, m)."""
    return (*flow.label(arguments["self"]), *flow.label(arguments.get("vec2") or arguments.get("other")))


def _positions(flow: Flow, node: Node, spatial: Label, weight: Label) -> Label:
    for dim in (*spatial, *weight[2:]):
        flow.pin(dim, "positions in")
    return tuple(flow.stuck(size, "positions in") for size in flow.shape(node)[2:])


def convolution(flow: Flow, node: Node, arguments: Arguments) -> Label | None:
    """x (n, g i, ...), weight (g o, i, ...) -> (n, g o, ...) for g groups, each of which keeps its size."""
    if arguments.get("transposed", False):
        return transposed(flow, node, arguments)
    x, weight = flow.label(arguments["input"]), flow.label(arguments["weight"])
    groups = int(arguments["groups"])
    if len(x) != len(weight):
        return None
    if groups == 1:
        flow.tie(x[1], weight[1])
    else:
        read = split(flow, x[1], (groups, x[1].size // groups))
        made = split(flow, weight[0], (groups, weight[0].size // groups))
        flow.tie(read[0], made[0])
        flow.tie(read[1], weight[1])
    flow.weight(arguments.get("bias"), weight[0])
    return (x[0], weight[0], *_positions(flow, node, x[2:], weight))


def transposed(flow: Flow, node: Node, arguments: Arguments) -> Label | None:
    """x (n, g i, ...), weight (g i, o, ...) -> (n, g o, ...)."""
    x, weight = flow.label(arguments["input"]), flow.label(arguments["weight"])
    groups = int(arguments["groups"])
    if len(x) != len(weight):
        return None
    flow.tie(x[1], weight[0])
    made = weight[1]
    if groups > 1:
        side = split(flow, x[1], (groups, x[1].size // groups))[0]
        made = _flattened(flow, side, weight[1])
    flow.weight(arguments.get("bias"), made)
    return (x[0], made, *_positions(flow, node, x[2:], weight))


def _flattened(flow: Flow, outer: Dim, inner: Dim) -> Dim:
    """The row-major product of two dimensions as one."""
    rows, columns = np.divmod(np.arange(outer.size * inner.size), inner.size)
    return Dim(np.concatenate([outer.ids[rows], inner.ids[columns]], 1), outer.why or inner.why)


def attention(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """query (..., h, l, e), key (..., h, s, e), value (..., h, s, v) -> (..., h, l, v); heads side by side.

    With ``enable_gqa``, ``key`` and ``value`` have fewer heads, each for several of the query's in a row.
    """
    query, key, value = (flow.label(arguments[name]) for name in ("query", "key", "value"))
    flow.tie(query[-1], key[-1])
    flow.tie(key[-2], value[-2])
    _batch(flow, key[:-2], value[:-2], True)
    if arguments.get("enable_gqa") and query[-3].size != key[-3].size:
        shared, _ = split(flow, query[-3], (key[-3].size, query[-3].size // key[-3].size))
        flow.tie(shared, key[-3])
        flow.heads.append(query[-3].ids)
        batch = query[:-2]
    else:
        batch = _batch(flow, query[:-2], key[:-2], True)
    mask = flow.label(arguments.get("attn_mask"))
    scores = (*batch, query[-2], key[-2])
    for place, dim in enumerate(mask, start=len(scores) - len(mask)):
        if dim.size == scores[place].size and dim.size > 1:
            flow.tie(scores[place], dim)
    return (*batch, query[-2], value[-1])
