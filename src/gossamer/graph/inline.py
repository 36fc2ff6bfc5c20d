"""Regions under ``torch.no_grad()`` or ``torch.autocast`` come out of torch.export as calls of a sub-graph.

They are written back into the one list of operators that a graph is, between the calls that switch the mode.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.fx
from torch.fx import Node

from gossamer.errors import TraceError
from gossamer.graph.module import source_line

_NO_GRAD = torch.ops.higher_order.wrap_with_set_grad_enabled
_AUTOCAST = torch.ops.higher_order.wrap_with_autocast


def set_grad(enabled: bool) -> bool:
    """Switch gradients on or off for the nodes that follow; returns what they were."""
    before = torch.is_grad_enabled()
    torch._C._set_grad_enabled(enabled)
    return before


def inline_regions(module: torch.fx.GraphModule) -> None:
    """Replace every region's call by its nodes, in place."""
    for node in list(module.graph.nodes):
        if node.target is _NO_GRAD:
            enabled, body, *inputs = node.args
            _inline(module, node, body, inputs, grad=enabled)
        elif node.target is _AUTOCAST:
            _, _, enabled, _, body, *inputs = node.args
            if enabled:
                raise _refused(node, "call the model under torch.autocast instead of inside of its forward")
            _inline(module, node, body, inputs, grad=None)
        elif isinstance(node.target, torch._ops.HigherOrderOperator):
            raise _refused(node, "torch.cond, torch.while_loop and the like have no graph of plain operators")


def _refused(node: Node, repair: str) -> TraceError:
    return TraceError(f"the model cannot be traced: {node.target} at\n  {source_line(node)}\n{repair}")


def _inline(
    module: torch.fx.GraphModule, call: Node, body: Any, inputs: list[Any], grad: bool | None
) -> None:
    """Copy the nodes of ``body`` to where ``call`` stands; ``grad`` is the mode within, None for the one
    around.
    """
    graph = module.graph
    region = module.get_submodule(str(body.target))
    assert isinstance(region, torch.fx.GraphModule)
    inline_regions(region)
    values = dict(zip(region.graph.find_nodes(op="placeholder"), inputs, strict=True))
    with graph.inserting_before(call):
        around = None if grad is None else graph.call_function(set_grad, (grad,))
        results = graph.graph_copy(region.graph, values)
        switches = [] if around is None else [around, graph.call_function(set_grad, (around,))]
    for switch in switches:
        switch.meta = dict(call.meta)
    results = results if isinstance(results, (tuple, list)) else (results,)
    for user in list(call.users):
        user.replace_all_uses_with(results[cast(int, user.args[1])])
        graph.erase_node(user)
    graph.erase_node(call)
    if not body.users:
        graph.erase_node(body)
