"""Graph: a traced network as an ordinary module.

It trains, deep-copies, moves between devices and has the state_dict of the user's model, name for name. What
differs from ``torch.fx.GraphModule`` is what compression needs: parametrized and tied weights survive a copy,
and the train and eval behaviour of batch norm and dropout is read from the modules' ``training`` flags while
running (:mod:`gossamer.graph.modes`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from gossamer.errors import GraphError, InputError
from gossamer.graph.transform import original


@dataclass(frozen=True)
class Input:
    """One tensor that the graph takes.

    ``shape`` is the traced example's; where ``batched``, its first entry is the batch size, which may be any.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    batched: bool = True

    def sized(self, batch: int) -> tuple[int, ...]:
        """The shape of this input in a batch of ``batch`` examples."""
        return (batch, *self.shape[1:]) if self.batched else self.shape

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a tensor of this shape, at any batch size."""
        if not isinstance(value, Tensor) or value.ndim != len(self.shape):
            return False
        start = 1 if self.batched else 0
        return tuple(value.shape[start:]) == self.shape[start:]

    def converted(self, value: Tensor) -> Tensor:
        """``value`` in this input's dtype: itself, or integers and truth values of another width where all fit.

        Raises InputError, which names the input, for other dtypes and for integers that do not fit.
        """
        if value.dtype == self.dtype:
            return value
        given, wanted = (str(dtype).removeprefix("torch.") for dtype in (value.dtype, self.dtype))
        refusal = f"input {self.name!r} of the network takes {wanted}, and what is given is {given}"
        if not (_is_whole(value.dtype) and _is_whole(self.dtype)):
            raise InputError(f"{refusal}: convert it to {wanted}")
        whole = value.to(torch.int64)
        low, high = (0, 1) if self.dtype == torch.bool else _limits(self.dtype)
        low = low if value.dtype.is_signed else max(low, 0)  # what wrapped around did not fit
        if whole.numel() and not low <= int(whole.min()) <= int(whole.max()) <= high:
            raise InputError(f"{refusal}, {int(whole.min())} to {int(whole.max())}, which do not all fit")
        return value.to(self.dtype)


def _is_whole(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex)


def _limits(dtype: torch.dtype) -> tuple[int, int]:
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


class Graph(torch.fx.GraphModule):
    """A network as a list of aten operators over named weights; made by :func:`gossamer.graph.trace`.

    ``signature``: the inputs, in calling order; ``tied``: further names of shared weights, each with the one
    name that the nodes use; ``units_before``: how many units every group had that lost some
    (:mod:`gossamer.graph.channels`), by its name; ``integer_only``: whether it is lowered to a Program without floating
    point. Calling it with other shapes than those traced (the batch size aside)
    raises InputError.
    """

    signature: tuple[Input, ...]
    tied: dict[str, str]
    units_before: dict[str, int]
    integer_only: bool

    def __init__(
        self, root: nn.Module, graph: torch.fx.Graph, signature: tuple[Input, ...], tied: dict[str, str]
    ) -> None:
        """Take over the parameters, buffers and children of ``root``, which nothing else may hold."""
        check_members(root)
        super().__init__(nn.Module(), torch.fx.Graph())
        self._parameters.update(root._parameters)
        self._buffers.update(root._buffers)
        self._non_persistent_buffers_set.update(root._non_persistent_buffers_set)
        self._modules.update(root._modules)
        self.training = root.training
        self.signature = signature
        self.tied = tied
        self.units_before = {}
        self.integer_only = False
        self.graph = graph
        self.register_forward_pre_hook(_check_call, with_kwargs=True)

    def recompile(self) -> Any:
        """Write ``forward`` anew, and leave calling to the base class that torch has given a wrapper already.

        A transform on a parameter of the graph itself makes a subclass of the graph's class; with a wrapper each, the
        two would call each other without end.
        """
        code = super().recompile()
        own = type(self)
        if any("_wrapped_call" in vars(base) for base in own.__mro__[1:]):
            for name in ("_wrapped_call", "__call__"):
                if name in vars(own):
                    delattr(own, name)
        return code

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        """An independent graph: parametrizations with their state, tied weights tied to each other, node
        meta.
        """
        new: Graph = object.__new__(_own_class(type(self)))
        memo[id(self)] = new
        for name, value in self.__dict__.items():
            if name not in ("_graph", "_in_spec", "_out_spec"):  # these come with the graph
                new.__dict__[name] = copy.deepcopy(value, memo)
        new.graph = _copied(self._graph)
        return new

    def __copy__(self) -> Graph:
        """A graph owns its weights, so there is no shallow copy: the same as a deep one."""
        return copy.deepcopy(self)

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], Graph], tuple[dict[str, Any]]]:
        """Pickled as :func:`gossamer.graph.to_state`: without code, parametrizations kept."""
        from gossamer.graph.serialize import from_state, to_state

        return from_state, (to_state(self),)

    def _tie(self) -> None:
        """Give every further name of a shared weight the weight again: torch unties them on some moves."""
        for name, first in self.tied.items():
            path, _, last = name.rpartition(".")
            owner, shared = self.get_submodule(path), original(self, first)
            holder = owner._parameters if last in owner._parameters else owner._buffers
            if last in holder:  # a module that is there twice has the weight already, perhaps parametrized
                holder[last] = shared  # type: ignore[assignment]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Graph:
        """Move or cast (``to``, ``double``, ``cuda``): devices and precision written in nodes follow the
        weights.
        """
        before = _anchor(self)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._tie()
        after = _anchor(self)
        if before is None or after is None:
            return self
        self.signature = tuple(
            replace(i, dtype=after[1]) if after[1] and i.dtype is before[1] else i for i in self.signature
        )
        if _follow(self.graph, before, after):
            self.recompile()
        return self


def check_members(root: nn.Module) -> None:
    """Raise GraphError where a member of ``root`` is called like something that graphs have themselves."""
    for name in (*root._parameters, *root._buffers, *root._modules):
        if name in _RESERVED:
            raise GraphError(
                f"{name!r} cannot be a member's name: graphs have an attribute of that name; rename it"
            )


_RESERVED = frozenset(
    (*dir(torch.fx.GraphModule({}, torch.fx.Graph())), "signature", "tied", "units_before", "integer_only")
)


def source_line(node: torch.fx.Node) -> str:
    """The user's line that made ``node``, as ``file:line: text``; empty where torch does not know."""
    from gossamer.graph.blame import line_of_trace

    return line_of_trace(node.meta.get("stack_trace") or "")


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite; integers and tensors without values are finite."""
    return tensor.is_meta or not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def module_of(node: torch.fx.Node) -> str:
    """The path of the user's module in whose forward ``node`` was made: "layer1.0.conv1"; "" is the root."""
    return str(node.meta.get("module", ""))


def _copied(graph: torch.fx.Graph) -> torch.fx.Graph:
    """The nodes anew, with their meta; how it is called is immutable, and shared."""
    new = torch.fx.Graph()
    result = new.graph_copy(graph, {}, return_output_node=True)
    assert isinstance(result, tuple)  # with return_output_node, and every graph has an output
    new.output(result[0]).meta = copy.copy(result[1].meta)
    new.set_codegen(graph._codegen)
    return new


def _own_class(cls: type) -> type:
    """A twin of a graph's class: torch keeps parametrized names on the class, and fx ``forward``, which it
    writes anew.
    """
    if cls is Graph:
        return cls
    written = ("__dict__", "__weakref__", "__call__", "_wrapped_call", "forward")
    members = {k: v for k, v in vars(cls).items() if k not in written}
    return type(cls.__name__, (_own_class(cls.__bases__[0]),), members)


def _anchor(graph: Graph) -> tuple[torch.device, torch.dtype | None] | None:
    """Where the weights are, and the precision of the first floating-point one."""
    tensors = [*graph.parameters(), *graph.buffers()]
    if not tensors:
        return None
    return tensors[0].device, next((t.dtype for t in tensors if t.is_floating_point()), None)


def _follow(
    graph: torch.fx.Graph,
    before: tuple[torch.device, torch.dtype | None],
    after: tuple[torch.device, torch.dtype | None],
) -> bool:
    """Rewrite devices in node arguments, and precision where it widens; whether anything changed.

    A narrowed precision is left alone: ``x.float()`` in a half-precision model is there on purpose.
    """
    widens = after[1] is torch.float64 and before[1] is not torch.float64
    changed = False

    def moved(value: Any) -> Any:
        nonlocal changed
        new = value
        if isinstance(value, torch.device) and value != after[0]:
            new = after[0]
        elif widens and value is before[1]:
            new = torch.float64
        changed = changed or new is not value
        return new

    for node in graph.nodes:
        if node.op == "call_function":
            node.args = torch.fx.node.map_aggregate(node.args, moved)
            node.kwargs = torch.fx.node.map_aggregate(node.kwargs, moved)
    return changed


def _check_call(graph: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Other shapes would run into constants that tracing fixed, so they stop here, by name."""
    signature: tuple[Input, ...] = graph.signature  # type: ignore[assignment]
    for position, spec in enumerate(signature):
        value = args[position] if position < len(args) else kwargs.get(spec.name)
        if value is not None and not spec.accepts(value):
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            want = ("batch", *spec.shape[1:]) if spec.batched else spec.shape
            raise InputError(
                f"input {spec.name!r} is {got}, but the graph was traced for {want}; "
                "trace again with an example of that shape"
            )
