"""A network with channels masked instead of removed: the oracle that removal is held against.

The whole graph runs at its full size. What sums over channels gets zeros for those that are removed; what is normalized
or averaged over channels is so over the others, computed here by its formula.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.fx
from torch import Tensor
from torch.fx import Node

from gossamer.graph.channels.flow import Flow
from gossamer.graph.channels.groups import kept
from gossamer.graph.layers import operator_name
from gossamer.graph.modes import arguments

SUMS = {
    *(
        "linear",
        "mm",
        "bmm",
        "matmul",
        "addmm",
        "baddbmm",
        "einsum",
        "bilinear",
        "scaled_dot_product_attention",
    ),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("sum", "norm", "linalg_vector_norm", "lstm", "gru", "rnn_tanh", "rnn_relu"),
}

OVER_CHANNELS = {
    *(
        "layer_norm",
        "rms_norm",
        "group_norm",
        "batch_norm",
        "mean",
        "var",
        "std",
        "amax",
        "amin",
        "max",
        "softmax",
    ),
    "scaled_dot_product_attention",
}


class Masked(torch.fx.Interpreter):
    """Runs ``flow.graph`` with the ids ``removed`` masked; keeps every node's value in ``values``."""

    def __init__(self, flow: Flow, removed: np.ndarray) -> None:
        super().__init__(flow.graph, garbage_collect_values=False)
        self.flow, self.removed = flow, removed
        self.values: dict[Node, Any] = {}

    def masks(self, node: Any) -> list[Tensor]:
        """For every dimension of a tensor, which indices are left."""
        result = []
        for dim in self.flow.label(node):
            mask = torch.zeros(dim.size, dtype=torch.bool)
            mask[kept(self.flow, dim, self.removed)] = True
            result.append(mask)
        return result

    def mask(self, node: Any) -> Tensor:
        """Which elements are left, broadcastable to the tensor."""
        masks = self.masks(node)
        whole = torch.ones([1] * len(masks), dtype=torch.bool)
        for place, mask in enumerate(masks):
            if mask.numel() > 1:  # the batch may have another size than the labels'
                shape = [1] * len(masks)
                shape[place] = -1
                whole = whole & mask.view(shape) if not mask.all() else whole
        return whole

    def run_node(self, node: Node) -> Any:
        name = operator_name(node)
        value = self._special(name, node) if self._touched(node) else None
        if value is None:
            args, kwargs = self.fetch_args_kwargs_from_env(node)
            if name in SUMS and self._touched(node):
                args, kwargs = self._zeroed(node, args, kwargs)
            value = getattr(self, node.op)(node.target, args, kwargs)
        self.values[node] = value.clone() if isinstance(value, Tensor) else value
        return value

    def _touched(self, node: Node) -> bool:
        return any(not m.all() for n in node.all_input_nodes for m in self.masks(n))

    def _zeroed(self, node: Node, args: Any, kwargs: Any) -> Any:
        def zero(given: Any) -> Any:
            if isinstance(given, Node):
                value = self.env[given]
                floats = isinstance(value, Tensor) and value.is_floating_point()
                return torch.where(self.mask(given), value, value.new_zeros(())) if floats else value
            return given

        mapped = torch.fx.node.map_aggregate
        return mapped(node.args, zero), mapped(node.kwargs, zero)

    def _special(self, name: str, node: Node) -> Any:
        """Norms, means and extremes over channels that are left."""
        if not node.all_input_nodes or name not in OVER_CHANNELS:
            return None
        known = {k: self.map_nodes_to_values(v, node) for k, v in arguments(node).items()}
        first = node.all_input_nodes[0]
        x, mask = self.env[first], self.mask(first).expand(self.env[first].shape)
        if name in ("layer_norm", "rms_norm"):
            dims = list(range(x.ndim - len(known["normalized_shape"]), x.ndim))
            eps = known.get("eps")
            return _normalized(
                x, mask, dims, known.get("weight"), known.get("bias"), eps, name == "layer_norm"
            )
        if name == "batch_norm":
            if not known["training"] or bool(mask.all((0, *range(2, x.ndim))).all()):
                return None
            aligned = [1, -1, *[1] * (x.ndim - 2)]
            scale, shift = (None if known[k] is None else known[k].view(aligned) for k in ("weight", "bias"))
            return _normalized(x, mask, [0, *range(2, x.ndim)], scale, shift, known["eps"], True)
        if name == "group_norm":
            return _group_normalized(x, mask, known)
        if name == "scaled_dot_product_attention":
            args, kwargs = self._zeroed(node, *self.fetch_args_kwargs_from_env(node))
            return node.target(*args, **{**kwargs, "scale": known.get("scale") or x.shape[-1] ** -0.5})
        dims = known.get("dim")
        dims = [dims] if isinstance(dims, int) else list(dims or range(x.ndim))
        keep = bool(known.get("keepdim"))
        if name == "softmax":
            return torch.where(mask, x, -math.inf).softmax(dims[0]).nan_to_num()
        if name == "max":
            return torch.where(mask, x, -math.inf).max(dims[0], keep)
        if name in ("amax", "amin"):
            least = -math.inf if name == "amax" else math.inf
            return getattr(torch.where(mask, x, least), name)(dims, keep)
        mean = _mean(x, mask, dims)
        if name == "mean":
            return mean if keep else _squeezed(mean, dims)
        count = mask.sum(dims, keepdim=True)
        variance = (
            _mean((x - mean).square(), mask, dims) * count / (count - (known.get("correction", 1) or 0))
        )
        result = variance if name == "var" else variance.sqrt()
        return result if keep else _squeezed(result, dims)

    def map_nodes_to_values(self, args: Any, n: Node) -> Any:
        return torch.fx.node.map_aggregate(args, lambda a: self.env[a] if isinstance(a, Node) else a)


def _squeezed(x: Tensor, dims: list[int]) -> Tensor:
    return x.squeeze(dims)


def _mean(x: Tensor, mask: Tensor, dims: list[int]) -> Tensor:
    return torch.where(mask, x, 0).sum(dims, keepdim=True) / mask.sum(dims, keepdim=True).clamp(min=1)


def _normalized(
    x: Tensor, mask: Tensor, dims: list[int], weight: Any, bias: Any, eps: Any, centred: bool
) -> Tensor:
    mean = _mean(x, mask, dims) if centred else 0.0
    variance = _mean((x - mean).square(), mask, dims)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    result = (x - mean) / (variance + eps).sqrt()
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def _group_normalized(x: Tensor, mask: Tensor, known: dict[str, Any]) -> Tensor:
    shape, groups = x.shape, known["num_groups"]
    split, split_mask = (t.reshape(shape[0], groups, -1, *shape[2:]) for t in (x, mask))
    result = _normalized(
        split, split_mask, list(range(2, split.ndim)), None, None, known["eps"], True
    ).reshape(shape)
    aligned = [1, -1, *[1] * (len(shape) - 2)]
    result = result if known["weight"] is None else result * known["weight"].view(aligned)
    return result if known["bias"] is None else result + known["bias"].view(aligned)


def differences(flow: Flow, removed: np.ndarray, pruned: Any, inputs: tuple[Tensor, ...]) -> dict[str, float]:
    """For every node the largest difference between the removed and the masked network, relative to its largest
    element; infinity where shapes differ.
    """
    with torch.no_grad():
        oracle = Masked(flow, removed)
        oracle.run(*(i.clone() for i in inputs), enable_io_processing=False)
        runner = _Kept(pruned)
        runner.run(*(i.clone() for i in inputs), enable_io_processing=False)
    byname = {node.name: value for node, value in runner.values.items()}
    found = {}
    for node, value in oracle.values.items():
        if isinstance(value, Tensor) and node.op == "call_function" and "empty" not in node.name:
            wanted = value
            for place, mask in enumerate(oracle.masks(node)):
                if not mask.all():
                    wanted = wanted.index_select(place, mask.nonzero()[:, 0])
            found[node.name] = _difference(wanted, byname[node.name], operator_name(node))
    return found


class _Kept(torch.fx.Interpreter):
    def __init__(self, graph: Any) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.values: dict[Node, Any] = {}

    def run_node(self, node: Node) -> Any:
        value = super().run_node(node)
        self.values[node] = value.clone() if isinstance(value, Tensor) else value
        return value


def _difference(wanted: Tensor, got: Any, name: str) -> float:
    if not isinstance(got, Tensor) or got.shape != wanted.shape:
        return math.inf
    if wanted.is_complex():
        wanted, got = torch.view_as_real(wanted), torch.view_as_real(got)
    if not wanted.is_floating_point():
        return 0.0 if torch.equal(wanted, got) else math.inf
    wanted, got = wanted.double(), got.double()
    same = (wanted == got) | (wanted.isnan() & got.isnan())
    if bool(same.all()):
        return 0.0
    gap = torch.where(same, 0.0, (wanted - got).abs())
    scale = (
        wanted[wanted.isfinite()].abs().max().clamp(min=1e-30) if wanted.isfinite().any() else torch.ones(())
    )
    return float(gap.max() / scale)
