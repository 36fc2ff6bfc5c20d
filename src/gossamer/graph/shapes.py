"""What every node of a graph computes, as fake tensors: shapes, dtypes and devices without the arithmetic."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Node

from gossamer.errors import GraphError
from gossamer.graph.module import Graph, source_line
from gossamer.graph.transform import original


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
