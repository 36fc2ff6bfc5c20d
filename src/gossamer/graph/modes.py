"""Train and eval in one graph: what differs between the two becomes a value read while running.

A model is traced in both modes. Where the same operator in the same module got another constant in each
(batch norm's ``training``, dropout's ``train``, attention's ``dropout_p``), the constant is replaced by the
``training`` flag of that module, or by a choice between the two constants; so ``graph.train()`` and
``graph.get_submodule("bn1").eval()`` do what they do on the user's model. What is only there in one mode is
noted.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any, TypeVar

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Node
from torch.overrides import TorchFunctionMode

from gossamer.graph.journal import note
from gossamer.graph.module import module_of, source_line

T = TypeVar("T")
_LAYOUT = {
    torch.ops.aten.sym_size.int,
    torch.ops.aten.contiguous.default,
    torch.ops.aten.alias.default,
    torch.ops.aten.detach.default,
    torch.ops.aten.detach_.default,
}
_DROPOUTS = {
    f
    for module in (torch, nn.functional)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
    if (f := getattr(module, name, None)) is not None
} | {torch.feature_dropout}
_TRAINING_ARGUMENTS = {"training", "train", "use_input_stats"}


def choose(training: bool, in_train: T, in_eval: T) -> T:
    """The constant for the present mode."""
    return in_train if training else in_eval


def count_batch(num_batches_tracked: Tensor, training: bool) -> None:
    """Count one batch in train mode, as ``torch.nn.BatchNorm`` does."""
    if training:
        num_batches_tracked.add_(1)


def average_factor(num_batches_tracked: Tensor, training: bool) -> float:
    """The momentum of a cumulative average (``momentum=None``): one over the batches seen so far."""
    return 1.0 / float(num_batches_tracked) if training else 0.0


class DropoutApart(TorchFunctionMode):
    """To be active while exporting. In eval mode dropout returns its very input, and torch.export would then
    take every later use of the input for a use of dropout's output: a residual connection around dropout
    would train wrongly. So dropout gets an alias, which :func:`drop_aliases` takes out.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``func``, dropout on an alias."""
        if func in _DROPOUTS:
            alias = torch.ops.aten.alias.default
            if args:
                args = (alias(args[0]), *args[1:])
            else:
                kwargs = {**(kwargs or {}), "input": alias((kwargs or {})["input"])}
        return func(*args, **(kwargs or {}))


def drop_aliases(graph: torch.fx.Graph) -> None:
    """Let the users of an alias, and of a slice that takes everything, use what it is of."""
    for node in list(graph.nodes):
        if node.target is torch.ops.aten.alias.default or _takes_all(node):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _takes_all(node: Node) -> bool:
    if node.target is not torch.ops.aten.slice.Tensor:
        return False
    given = arguments(node)
    return given["start"] in (None, 0) and given["end"] in (None, sys.maxsize) and given["step"] == 1


def make_live(graph: torch.fx.Graph, trained: torch.fx.Graph) -> bool:
    """Turn the constants of ``graph`` (traced in eval mode) that differ in ``trained`` into live ones, in
    place. Whether the two are else the same; what is not is noted.
    """
    theirs = _by_place(trained)
    for place, nodes in _by_place(graph).items():
        twins = theirs.pop(place, [])
        if len(twins) != len(nodes):
            theirs[place] = twins or nodes
            continue
        for node, twin in zip(nodes, twins, strict=True):
            _merge(graph, node, twin)
    _note_other_structure([nodes[0] for nodes in theirs.values()])
    return not theirs


def make_live_by_name(graph: torch.fx.Graph, reason: str) -> None:
    """As :func:`make_live` where train mode cannot be traced: the operators' own training arguments become
    live.
    """
    note("model", f"train mode was derived from eval mode, because {reason}")
    for node in list(graph.nodes):
        if isinstance(node.target, torch._ops.OpOverload):
            for name in _TRAINING_ARGUMENTS & arguments(node).keys():
                if arguments(node)[name] is False:
                    _set_live(graph, node, name, True, False)


def _note_other_structure(nodes: list[Node]) -> None:
    operators: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        operators[module_of(node)].append(node)
    for path, only in operators.items():
        names = ", ".join(str(node.target) for node in only)
        note(
            path or "model",
            f"train and eval mode differ by more than constants ({names}; {source_line(only[0])}): "
            "the graph computes in both what the model computes in eval mode",
        )


def track_batches(graph: torch.fx.Graph, root: nn.Module, cumulative: set[str]) -> None:
    """Let batch norms count their batches; those named in ``cumulative`` average over all of them."""
    buffers = {name for name, _ in root.named_buffers(remove_duplicate=False)}
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.batch_norm.default):
        mean, training = node.args[3], node.args[5]
        path, _, name = str(mean.target).rpartition(".") if isinstance(mean, Node) else ("", "", "")
        counter = f"{path}.num_batches_tracked" if path else "num_batches_tracked"
        if name != "running_mean" or not isinstance(training, Node) or counter not in buffers:
            continue
        with graph.inserting_before(node):
            counted = graph.create_node("get_attr", counter)
            calls = [graph.call_function(count_batch, (counted, training))]
            if path in cumulative:
                calls.append(graph.call_function(average_factor, (counted, training)))
                node.update_arg(6, calls[-1])
        for new in (counted, *calls):
            new.meta = dict(node.meta)


def _by_place(graph: torch.fx.Graph) -> dict[tuple[str, object], list[Node]]:
    """Operators by module path and operator, in order: a place means the same in both modes."""
    places: dict[tuple[str, object], list[Node]] = defaultdict(list)
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and not _is_bookkeeping(node):
            places[module_of(node), node.target].append(node)
    return places


def _is_bookkeeping(node: Node) -> bool:
    """What computes nothing (sizes, layout), and batch norm's counter, which :func:`track_batches` writes
    anew.
    """
    first = node.args[0] if node.args else None
    counts = (
        isinstance(first, Node)
        and first.op == "get_attr"
        and str(first.target).endswith("num_batches_tracked")
    )
    return counts or node.target in _LAYOUT


def _merge(graph: torch.fx.Graph, node: Node, twin: Node) -> None:
    for name, constant in arguments(twin).items():
        ours = arguments(node)[name]
        if (
            isinstance(ours, (bool, int, float))
            and isinstance(constant, (bool, int, float))
            and ours != constant
        ):
            _set_live(graph, node, name, constant, ours)


def _set_live(graph: torch.fx.Graph, node: Node, name: str, in_train: float, in_eval: float) -> None:
    path = module_of(node)
    with graph.inserting_before(node):
        live = graph.create_node("get_attr", f"{path}.training" if path else "training")
        live.meta = dict(node.meta)
        if (in_train, in_eval) != (True, False):
            live = graph.call_function(choose, (live, in_train, in_eval))
            live.meta = dict(node.meta)
    set_argument(node, name, live)


def arguments(node: Node) -> dict[str, Any]:
    """All arguments of an operator by their schema's names, defaults filled in."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)  # callers look at operators only
    names = [a.name for a in target._schema.arguments]
    defaults = {a.name: a.default_value for a in target._schema.arguments}
    return {**defaults, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def set_argument(node: Node, name: str, value: Any) -> None:
    """Set one argument of an operator by its schema's name, keeping positional ones positional."""
    values = {**arguments(node), name: value}
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    positions = [a.name for a in schema if not a.kwarg_only]
    if name not in positions:
        node.update_kwarg(name, value)
        return
    count = max(len(node.args), positions.index(name) + 1)
    node.args = tuple(values[n] for n in positions[:count])
    node.kwargs = {k: v for k, v in node.kwargs.items() if k not in positions[:count]}
