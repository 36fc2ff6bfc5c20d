"""Batch norm folded while training, with each batch's statistics made good for.

Jacob et al. 2018, section 3.2; the correction is that of Krishnamoorthi 2018, section 3.2.2. Where output channels
share a scale, what has to be quantized is the folded weight f W, f = gamma / sigma of the moving statistics, which
change slowly. The product is then divided by f, and the batch norm stays behind it: with the mean mu_B and the sigma_B
of the batch at hand it gives

    (sigma / sigma_B) (Q(f W) * x)  +  beta - gamma mu_B / sigma_B,

the paper's corrected product and bias, and what batch norm gives where nothing is rounded. Frozen
(:class:`FreezeBatchNorm`), sigma_B is sigma and mu_B the moving mean: the network that ships, without batch norm. The
batch's statistics are those of the quantized product, so the moving ones are those of the network that ships.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Node

from gossamer.graph import Graph, note, transforms
from gossamer.graph.modes import arguments
from gossamer.numerics.batchnorm import follow_fold

from .fold import Pair, fold_pair, is_corrected, pairs, scales_by_channel, statistics


def fold_factor_of(graph: Graph, pair: Pair) -> Tensor | None:
    """The factor of each output channel by which the batch norm will be folded, 1 for 0; None, and noted, if none."""
    found = statistics(graph, pair.norm)
    if found is None:
        note(pair.layer.name, "its batch norm is not folded: it has no running statistics")
        return None
    if not scales_by_channel(graph, pair.layer, found[0]):
        note(
            pair.layer.name,
            "its batch norm is not folded: the transforms of the weight do not scale by channel",
        )
        return None
    return torch.where(found[0] == 0, 1.0, found[0]).float()


def follow(graph: Graph, pair: Pair) -> None:
    """Keep the factor of the weight's FoldedQuantize that of the moving statistics. Recompile ``graph`` afterwards."""
    owner, _, name = pair.layer.weight.rpartition(".")
    prefix = f"{owner}." if owner else ""
    place = len(transforms(graph, pair.layer.weight)) - 1
    given = arguments(pair.norm)
    nodes = graph.graph
    with nodes.inserting_before(next(iter(nodes.find_nodes(op="get_attr", target=pair.layer.weight)))):
        read = [f"{prefix}parametrizations.{name}.{place}.factor", _name(given["weight"])]
        factor, gamma, variance = (
            None if each is None else nodes.create_node("get_attr", each)
            for each in (*read, _name(given["running_var"]))
        )
        training = nodes.create_node("get_attr", f"{prefix}training")
        node = nodes.call_function(follow_fold, (factor, gamma, variance, given["eps"], training))
    for new in (node, *node.all_input_nodes):
        new.meta = dict(pair.layer.node.meta)


def _name(node: object) -> str | None:
    return str(node.target) if isinstance(node, Node) else None


def fold_corrected(graph: Graph) -> None:
    """Fold, in place and for good, what is folded while training: for what corrects weights behind training."""
    for pair in [pair for pair in pairs(graph) if is_corrected(graph, pair.layer.weight)]:
        fold_pair(graph, pair)
    graph.recompile()
