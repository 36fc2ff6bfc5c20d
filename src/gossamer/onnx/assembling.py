"""The ExportedProgram of a graph, put together from its nodes.

A graph holds what ``torch.export`` gave once, so tracing it again only finds the same operators. Here each is run once
on fake tensors, for shapes and dtypes, and written down; that takes a third of the time of an export. Whatever is not
an operator with a form of its own (functions of Python on tensors, operators that change their inputs, a batch size
that would not stay free) is left to ``torch.export``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram, ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx import Graph as Nodes
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from gossamer.graph import Graph, original
from gossamer.graph.modes import average_factor, choose, count_batch
from gossamer.graph.shapes import computed
from gossamer.quantize.activations import STATIC, quantizers

_OF_MODES = (choose, count_batch, average_factor)  # they read training flags, and give numbers


class _UnlikeError(Exception):
    """The graph has something that is left to ``torch.export``."""


def assembled(plain: Graph, batch: int) -> ExportedProgram | None:
    """The program of ``plain`` in eval mode, its batch size free; ``batch`` examples are the hint. None where
    ``torch.export`` has to make it.
    """
    try:
        return _Assembly(plain, batch).program()
    except _UnlikeError:
        return None


class _Assembly:
    """One graph on its way, node by node."""

    def __init__(self, plain: Graph, batch: int) -> None:
        self._plain, self._batch = plain, batch
        self._shapes = ShapeEnv()
        self._mode = FakeTensorMode(shape_env=self._shapes)
        self._nodes = Nodes()
        self._made: dict[Node, Any] = {}  # nodes of the program, or numbers, by those of the graph
        self._weights: dict[str, Node] = {}
        self._specs: list[InputSpec] = []
        self._written = {q.node: q for q in quantizers(plain)}

    def program(self) -> ExportedProgram:
        """See :func:`assembled`."""
        for name in dict.fromkeys(str(n.target) for n in self._plain.graph.find_nodes(op="get_attr")):
            if name.rpartition(".")[2] != "training":
                self._hold(name)
        self._take_inputs()
        with torch.no_grad(), self._mode, enable_python_dispatcher():
            for node in self._plain.graph.nodes:
                if node.op == "get_attr":
                    self._made[node] = self._weights.get(str(node.target), False)
                elif node.op == "call_function":
                    self._made[node] = self._called(node)
        if self._shapes.replacements or not all(map(_is_of_convolution, self._shapes.guards)):
            raise _UnlikeError  # an operator took a decision on the batch size
        signature = ExportGraphSignature(self._specs, self._outputs())
        spec = self._plain.graph._codegen.pytree_info  # type: ignore[attr-defined]
        calls = [ModuleCallEntry("", ModuleCallSignature([], [], spec.in_spec, spec.out_spec))]
        held = {name: original(self._plain, name) for name in self._weights}
        return ExportedProgram(nn.Module(), self._nodes, signature, held, {}, calls)

    def _hold(self, name: str) -> None:
        """An input for the parameter, buffer or constant called ``name``."""
        value = original(self._plain, name)
        kind = InputKind.PARAMETER if isinstance(value, nn.Parameter) else InputKind.BUFFER
        fake = self._mode.from_tensor(value.detach(), static_shapes=True)
        self._weights[name] = self._placed(f"w_{len(self._weights)}", fake, kind, name)

    def _placed(self, called: str, fake: Tensor, kind: InputKind, target: str | None = None) -> Node:
        node = self._nodes.placeholder(called)
        node.meta["val"] = fake
        persistent = True if kind is InputKind.BUFFER else None
        self._specs.append(InputSpec(kind, TensorArgument(node.name), target, persistent))
        return node

    def _take_inputs(self) -> None:
        """The user's inputs, all with the same symbol as their batch size."""
        free: Any = None
        given = self._plain.graph.find_nodes(op="placeholder")
        for node, item in zip(given, self._plain.signature, strict=True):
            example = torch.empty(item.sized(self._batch), dtype=item.dtype)
            if not item.batched:
                fake: Tensor = self._mode.from_tensor(example, static_shapes=True)
            elif free is None:
                sizes = [DimDynamic.DYNAMIC] + [DimDynamic.STATIC] * (example.ndim - 1)
                fake = self._mode.from_tensor(
                    example, symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes)
                )
                free = fake.shape[0]
            else:
                with self._mode:
                    fake = torch.empty((free, *item.shape[1:]), dtype=item.dtype)
            self._made[node] = self._placed(node.name, fake, InputKind.USER_INPUT)

    def _called(self, node: Node) -> Any:
        """The node for a call, or the number that it gives."""
        target: Any = node.target
        args, kwargs = self._mapped((node.args, node.kwargs))
        if node in self._written:  # however its range is followed in training
            found = self._written[node]
            target, args, kwargs = STATIC, (*args[:3], found.low, found.high), {}
        reads = any(isinstance(x, Node) for x in pytree.tree_leaves((args, kwargs)))
        if target in _OF_MODES or (not reads and not isinstance(target, torch._ops.OpOverload)):
            return target(*args, **kwargs)
        target = self._functional(node, target)
        values = map_arg((args, kwargs), lambda n: n.meta["val"])
        made = self._nodes.call_function(target, args, kwargs)
        made.meta = {
            "val": computed(target, *values),
            "stack_trace": node.meta.get("stack_trace") or "",
        }
        return made

    def _functional(self, node: Node, target: Any) -> Any:
        """``target``, or for one that overwrites its first input what makes a new tensor instead.

        Raises _UnlikeError where anything else could see the input afterwards.
        """
        if not isinstance(target, torch._ops.OpOverload):
            if getattr(target, "__module__", "") not in ("_operator", "math"):
                raise _UnlikeError
            return target
        if not target._schema.is_mutable:
            return target
        space, _, name = target._schema.name.partition("::")
        packet = getattr(getattr(torch.ops, space), name.removesuffix("_"), None)
        functional = getattr(packet, target._overloadname, None)
        if not name.endswith("_") or functional is None or not self._is_fresh(node.args[0]):
            raise _UnlikeError
        return functional

    def _is_fresh(self, value: Any) -> bool:
        """Whether a single node reads ``value``, a tensor whose memory no other node reads either."""
        if not isinstance(value, Node) or len(value.users) > 1:
            return False
        if value in self._written:
            return True
        if not isinstance(value.target, torch._ops.OpOverload):
            return False
        is_view = any(result.alias_info for result in value.target._schema.returns)
        return not is_view or self._is_fresh(value.args[0])

    def _mapped(self, arguments: Any) -> Any:
        return map_arg(arguments, lambda n: self._made[n])

    def _outputs(self) -> list[OutputSpec]:
        leaves = pytree.tree_leaves(self._mapped(self._plain.graph.output_node().args[0]))
        if not all(isinstance(leaf, Node) and leaf.op == "call_function" for leaf in leaves):
            raise _UnlikeError
        self._nodes.output(tuple(leaves)).meta["val"] = tuple(leaf.meta["val"] for leaf in leaves)
        return [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(leaf.name), None) for leaf in leaves]


def _is_of_convolution(guard: Any) -> bool:
    """Whether it was taken to choose the fastest convolution, which is nothing to a program."""
    place = guard.sloc.framework_loc
    return getattr(place, "name", "") == "conv" and place.filename.endswith("fake_impls.py")
