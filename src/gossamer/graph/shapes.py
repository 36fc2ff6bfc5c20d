"""What every node of a graph computes, as fake tensors: shapes, dtypes and devices without the arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Node

from gossamer.errors import GraphError
from gossamer.graph.module import Graph, source_line
from gossamer.graph.transform import original

aten = torch.ops.aten
# What these give has the shape, dtype and layout of their first input. (A fake's way through torch's own
# descriptions takes milliseconds where sizes are symbols.)
_LIKE_THE_FIRST = {
    aten.relu.default,
    aten.relu_.default,
    aten.relu6.default,
    aten.hardtanh.default,
    aten.hardtanh_.default,
    aten.leaky_relu.default,
    aten.elu.default,
    aten.gelu.default,
    aten.silu.default,
    aten.silu_.default,
    aten.sigmoid.default,
    aten.tanh.default,
    aten.hardswish.default,
    aten.hardsigmoid.default,
}


def computed(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What ``target`` gives in eval mode for fake tensors; at once where it is like its first input."""
    first = args[0] if args else None
    if isinstance(first, Tensor) and first.is_floating_point():
        if target in _LIKE_THE_FIRST or _is_our_own(target):
            return first
        if target is aten.batch_norm.default and _fits(first, args[3]):
            return first
    return target(*args, **kwargs)


def _is_our_own(target: Any) -> bool:
    """Whether it is an operator of gossamer.numerics; their results are like their first inputs."""
    return isinstance(target, torch._ops.OpOverload) and target.namespace == "gossamer"


def _fits(x: Tensor, mean: Any) -> bool:
    """Whether the batch norm with this running mean takes ``x``."""
    return isinstance(mean, Tensor) and x.ndim > 1 and bool(x.shape[1] == mean.shape[0])


def shapes(graph: Graph, batch: int = 1) -> dict[Node, Any]:
    """The value of every node in eval mode for ``batch`` examples; tensors are fake ones, of the true shape
    and dtype.

    Raises GraphError, naming the node, where the graph cannot run.
    """
    device = next((t.device for t in (*graph.parameters(), *graph.buffers())), torch.device("cpu"))
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad(), mode:
        inputs = [torch.empty(i.sized(batch), dtype=i.dtype, device=device) for i in graph.signature]
        runner = _Shapes(graph, mode)
        runner.run(*inputs, enable_io_processing=False)
    return runner.values


class _Shapes(torch.fx.Interpreter):
    def __init__(self, graph: Graph, mode: FakeTensorMode) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.values: dict[Node, Any] = {}
        self._graph, self._mode = graph, mode
        self._fakes: dict[str, Tensor] = {}

    def fetch_attr(self, target: str) -> Any:
        """The fake of a weight; of a transformed one too, since transforms keep the shape. All flags say
        eval.
        """
        if target.rpartition(".")[2] == "training":
            return False
        if target not in self._fakes:
            weight = original(self._graph, target)
            self._fakes[target] = self._mode.from_tensor(weight.detach(), static_shapes=True)
        return self._fakes[target]

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """One call."""
        return computed(target, args, kwargs)

    def run_node(self, n: Node) -> Any:
        """Run one node, keep what it gives, and name it where it fails."""
        try:
            value = super().run_node(n)
        except Exception as error:  # operators raise all kinds
            raise GraphError(
                f"node {n.name!r} ({n.target}) cannot run: {type(error).__name__}: {error}\n"
                f"  {source_line(n)}"
            ) from error
        self.values[n] = value
        return value
