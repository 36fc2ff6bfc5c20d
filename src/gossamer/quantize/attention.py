"""Attention written out: what a fused operator hides has to be quantized piece by piece."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.fx import Node

from gossamer.errors import UnsupportedError
from gossamer.graph import Graph, module_of, original, shapes
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments

_LOWEST = torch.finfo(torch.float32).min
_MASKS_BELOW = -1e4  # what added to a score means: not this one
_ZEROS = {"zeros", "zeros_like", "new_zeros"}


def write_out_attention(graph: Graph) -> None:
    """Fused attention as products, a mask and a softmax, in place; masks that are added as a choice."""
    fused = torch.ops.aten.scaled_dot_product_attention.default
    for node in list(graph.graph.find_nodes(op="call_function", target=fused)):
        _write_out(graph, node, shapes(graph, batch=2))
    for node in list(graph.graph.find_nodes(op="call_function", target=torch.ops.aten.add.Tensor)):
        _choose_masked(graph, node)
    graph.recompile()


def _write_out(graph: Graph, node: Node, values: dict[Node, object]) -> None:
    given, aten = arguments(node), torch.ops.aten
    if given.get("enable_gqa"):
        raise UnsupportedError(
            f"Quantize(integer_only=True): attention of {module_of(node)} with shared heads (enable_gqa); "
            "repeat the heads in the model"
        )
    q, k, v, mask = (given[name] for name in ("query", "key", "value", "attn_mask"))
    width = values[q].shape[-1]  # type: ignore[attr-defined]
    scale = given["scale"] if given.get("scale") is not None else width**-0.5
    flags = node.meta

    def call(target: object, *args: object, **kwargs: object) -> Node:
        made = graph.graph.call_function(target, args, kwargs)  # type: ignore[arg-type]
        made.meta = dict(flags)
        return made

    with graph.graph.inserting_before(node):
        scores = call(
            aten.mul.Tensor, call(aten.matmul.default, q, call(aten.transpose.int, k, -2, -1)), scale
        )
        if given["is_causal"]:
            rows, columns = (values[n].shape[-2] for n in (q, k))  # type: ignore[attr-defined]
            mask = call(aten.tril.default, call(aten.ones.default, [rows, columns], dtype=torch.bool))
        if isinstance(mask, Node):
            is_bool = mask not in values or values[mask].dtype == torch.bool  # type: ignore[attr-defined]
            scores = (
                call(aten.where.ScalarOther, mask, scores, _LOWEST)
                if is_bool
                else call(aten.add.Tensor, scores, mask)
            )
        weights = call(aten.softmax.int, scores, -1)
        weights = _dropped(weights, given["dropout_p"], call)
        result = call(aten.matmul.default, weights, v)
    node.replace_all_uses_with(result)
    graph.graph.erase_node(node)


def _dropped(weights: Node, p: object, call: Callable[..., Node]) -> Node:
    """The probabilities with dropout in training mode, as the fused operator has it."""
    aten = torch.ops.aten
    if isinstance(p, Node):  # a choice between training and eval mode
        training, in_train, _ = p.args
        return call(aten.dropout.default, weights, in_train, training)
    return weights


def _choose_masked(graph: Graph, node: Node) -> None:
    """``x + where(keep, 0, lowest)`` as ``where(keep, x, lowest)``: no range has to hold both."""
    for x, mask in (node.args[:2], node.args[1::-1]):
        if not isinstance(x, Node) or not isinstance(mask, Node):
            return
        keep = _kept(graph, mask)
        if keep is None:
            continue
        with graph.graph.inserting_before(node):
            chosen = graph.graph.call_function(torch.ops.aten.where.ScalarOther, (keep, x, _LOWEST))
        chosen.meta = dict(node.meta)
        node.replace_all_uses_with(chosen)
        graph.graph.erase_node(node)
        if not mask.users:
            graph.graph.erase_node(mask)
        return


def _kept(graph: Graph, mask: Node) -> Node | None:
    """Which elements a mask that is added keeps; None where it is no mask."""
    if operator_name(mask) != "where" or not isinstance(mask.args[1], Node):
        return None
    low = mask.args[2]
    is_low = isinstance(low, int | float) and low < _MASKS_BELOW
    keep = mask.args[0]
    return keep if is_low and _is_zero(graph, mask.args[1]) and isinstance(keep, Node) else None


def _is_zero(graph: Graph, node: Node) -> bool:
    if node.op == "get_attr":
        found = original(graph, str(node.target))
        return isinstance(found, torch.Tensor) and not bool(found.any())
    return operator_name(node) in _ZEROS or bool(operator_name(node) == "full" and node.args[1] == 0)
