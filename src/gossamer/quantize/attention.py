"""Attention written out: what a fused operator hides has to be quantized piece by piece."""

from __future__ import annotations

import torch
from torch.fx import Node

from gossamer.graph import Graph, original, shapes
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments

aten = torch.ops.aten
_LOWEST = torch.finfo(torch.float32).min
_MASKS_BELOW = -1e4  # what added to a score means: not this one
_ZEROS = {"zeros", "zeros_like", "new_zeros"}


def write_out_attention(graph: Graph, in_integers: bool = False) -> None:
    """Fused attention as products, a mask and a softmax, in place.

    A row that is masked as a whole has equal weights (the fused operator has zeros): no NaN is rounded, and integer
    kernels have no case for it. ``in_integers``: masks that are added become a choice, as ranges are of every value.
    """
    fused = torch.ops.aten.scaled_dot_product_attention.default
    found = list(graph.graph.find_nodes(op="call_function", target=fused))
    values = shapes(graph, batch=2) if found else {}
    for node in found:
        _Writer(graph, node, values, in_integers).write()
    for node in list(graph.graph.find_nodes(op="call_function", target=torch.ops.aten.add.Tensor)):
        if in_integers:
            _choose_masked(graph, node)
    graph.recompile()


class _Writer:
    """Writes one attention in front of its node, and puts the result in its place."""

    def __init__(self, graph: Graph, node: Node, values: dict[Node, object], in_integers: bool) -> None:
        self.graph, self.node, self.values, self.in_integers = graph, node, values, in_integers
        self.given = arguments(node)

    def write(self) -> None:
        q, k, v = (self.given[name] for name in ("query", "key", "value"))
        scale = self.given["scale"] if self.given.get("scale") is not None else self._shape(q)[-1] ** -0.5
        with self.graph.graph.inserting_before(self.node):
            if self.given.get("enable_gqa"):
                k, v = self._for_all_heads(k), self._for_all_heads(v)
            product = self._call(aten.matmul.default, q, self._call(aten.transpose.int, k, -2, -1))
            scores = self._masked(self._call(aten.mul.Tensor, product, scale))
            weights = self._dropped(self._call(aten.softmax.int, scores, -1))
            result = self._call(aten.matmul.default, weights, v)
        self.values[result] = self.values[self.node]
        self.node.replace_all_uses_with(result)
        self.graph.graph.erase_node(self.node)

    def _call(self, target: object, *args: object, **kwargs: object) -> Node:
        made = self.graph.graph.call_function(target, args, kwargs)  # type: ignore[arg-type]
        made.meta = dict(self.node.meta)
        return made

    def _shape(self, node: Node) -> torch.Size:
        return self.values[node].shape  # type: ignore[attr-defined, no-any-return]

    def _for_all_heads(self, x: Node) -> Node:
        """Keys or values that groups of queries share (grouped-query attention), each as often as it is read."""
        shape = self._shape(x)
        count, rank = self._shape(self.given["query"])[-3] // shape[-3], len(shape)
        if count == 1:
            return x
        # Next to the width, where most models have the heads before they transpose: the two transpositions cancel out.
        beside = self._call(aten.unsqueeze.default, self._call(aten.transpose.int, x, -3, -2), -2)
        repeated = self._call(aten.expand.default, beside, [-1] * (rank - 1) + [count, -1])
        joined = self._call(aten.flatten.using_ints, repeated, -3, -2)
        return self._call(aten.transpose.int, joined, -3, -2)

    def _masked(self, scores: Node) -> Node:
        mask = self.given["attn_mask"]
        if self.given["is_causal"]:
            rows, columns = (self._shape(self.given[name])[-2] for name in ("query", "key"))
            mask = self._call(
                aten.tril.default, self._call(aten.ones.default, [rows, columns], dtype=torch.bool)
            )
        if not isinstance(mask, Node):
            return scores
        if mask in self.values and self.values[mask].dtype != torch.bool:  # type: ignore[attr-defined]
            finite = mask if self.in_integers else self._call(aten.clamp_min.default, mask, _LOWEST)
            return self._call(aten.add.Tensor, scores, finite)
        if self.in_integers:
            return self._call(aten.where.ScalarOther, mask, scores, _LOWEST)
        return self._call(aten.add.Tensor, scores, self._call(aten.where.Scalar, mask, 0.0, _LOWEST))

    def _dropped(self, weights: Node) -> Node:
        """The probabilities with dropout in training mode, as the fused operator has it."""
        p = self.given["dropout_p"]
        if not isinstance(p, Node):
            return weights
        training, in_train, _ = p.args  # a choice between training and eval mode
        return self._call(aten.dropout.default, weights, in_train, training)


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
