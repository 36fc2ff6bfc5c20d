"""trace: from the user's module to a graph, through ``torch.export``; the user's module stays as it is.

The model is exported twice, in eval mode (whose structure the graph has) and in train mode, so that what
differs can be read from the ``training`` flags while running (:mod:`gossamer.graph.modes`). Then the graph is
run beside the model, at the example's batch size and at another one, and must give the same outputs.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from gossamer.errors import GraphError, TraceError, UnsupportedError
from gossamer.graph import blame, modes
from gossamer.graph.call import Call, bind
from gossamer.graph.inline import inline_regions
from gossamer.graph.journal import note
from gossamer.graph.layers import computed_weights
from gossamer.graph.module import Graph, check_members, is_finite, module_of, source_line

Example = Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor]

_ASSERTIONS = {
    torch.ops.aten._assert_tensor_metadata.default,
    torch.ops.aten._assert_scalar.default,
    torch.ops.aten.sym_constrain_range_for_size.default,
    torch.ops.aten.sym_constrain_range.default,
}
_READS_A_NUMBER = {torch.ops.aten.item.default, torch.ops.aten._local_scalar_dense.default}


def trace(model: nn.Module, example: Example) -> Graph:
    """The graph of ``model``; ``example`` is one batch: a tensor, a tuple of tensors, or a dict by argument
    name.

    The batch dimension (the first one of every input that has as many rows as the first input) may then have
    any size >= 1. The graph has copies of the weights, under the user's names, and starts in the modes
    (train, eval) in which the model's modules are. A graph is returned as a copy. ``torch.compile`` and
    data-parallel wrappers are taken off.

    Raises TraceError with the user's own line and the usual repairs where the model cannot be traced.
    """
    if isinstance(model, Graph):
        return copy.deepcopy(model)
    model = _unwrapped(model)
    _check_weights(model)
    call = bind(model, example)
    probe = _copied(model).eval()
    with _exporting():
        _run_eagerly(probe, model, call)
        working = _copied(model)
        exported = _export(working.eval(), model, call)
        graph, trains_alike = _build(working, model, exported, call)
        for training in (False, True) if trains_alike else (False,):
            _verify(graph, probe, model, call, training)
    for node in computed_weights(graph):
        note(
            module_of(node) or "model",
            f"its weight is computed, so passes leave it alone ({source_line(node)})",
        )
    return graph


def _unwrapped(model: Any) -> nn.Module:
    while isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)) or hasattr(
        model, "_orig_mod"
    ):
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module
    if not isinstance(model, nn.Module):
        raise TraceError(
            f"a model is a torch.nn.Module, not {type(model).__name__}: wrap the function in a module"
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise TraceError("a TorchScript module cannot be traced: pass the nn.Module that it was made from")
    return model


def _check_weights(model: nn.Module) -> None:
    try:
        check_members(model)
    except GraphError as error:
        raise TraceError(str(error)) from error
    for path, module in model.named_modules():
        if type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")):
            raise TraceError(f"{path!r} is already quantized ({type(module).__name__}): pass the float model")
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise TraceError(
                f"{name!r} has no values yet (a lazy module): call the model once on a batch first"
            )
        if tensor.is_quantized or tensor.layout is not torch.strided:
            raise TraceError(
                f"{name!r} is not a dense float tensor ({tensor.dtype}, {tensor.layout}): convert it first"
            )
        if isinstance(tensor, nn.Parameter) and not is_finite(tensor):
            raise TraceError(
                f"weight {name!r} has NaN or infinite values: load a checkpoint whose training went well"
            )


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a user's __deepcopy__ raises
        raise TraceError(
            f"{type(model).__name__} cannot be deep-copied, which tracing needs: {error}"
        ) from error


def _run_eagerly(probe: nn.Module, model: nn.Module, call: Call) -> None:
    try:
        call.of(probe, call.batch)
    except UnsupportedError:  # of an ONNX file, which names its operation
        raise
    except Exception as error:  # the user's model may raise anything
        raise TraceError(
            f"the model itself fails on the example {call}: {type(error).__name__}: {error}\n"
            f"  {blame.line_of_exception(error, model)}"
        ) from error


def _export(working: nn.Module, model: nn.Module, call: Call) -> torch.fx.GraphModule:
    """The training IR of ``working`` in its present mode, batch size free, under the user's names."""
    example = call.sized(max(call.batch, 2))  # torch.export takes sizes 0 and 1 for constants

    def run() -> torch.fx.GraphModule:
        shapes: Any = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]
        for before, tensor in zip(call.tensors, example.tensors, strict=True):
            if call.batched(before):
                shapes[tensor] = {0: torch.export.Dim("batch")}
        with torch.enable_grad(), modes.DropoutApart():
            module = torch.export.export(
                working, example.args, example.kwargs, dynamic_shapes=shapes, strict=False
            ).module()
            _refuse_values(module, model)
            return _cleaned(module)

    try:
        return run()
    except TraceError:
        raise
    except Exception as error:  # torch.export raises a dozen kinds
        kind = blame.kind_of(error)
        line = blame.forward_line(model) if kind == "output" else blame.line_of_exception(error, model)
        if kind == "batch":
            line = (
                blame.line_of_fixed_batch(
                    lambda rows: call.of(_copied(model).eval(), rows), run, example.batch
                )
                or line
            )
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise _refusal(model, line, kind, f"{type(error).__name__}: {reason}") from error


def _refuse_values(module: torch.fx.GraphModule, model: nn.Module) -> None:
    """Numbers and shapes that depend on values have no place in a graph."""
    for node in module.graph.nodes:
        if node.target in _READS_A_NUMBER:
            raise _refusal(model, source_line(node), "item", str(node.target))
        if free_unbacked_symbols(node.meta.get("val")):
            raise _refusal(model, source_line(node), "shape", str(node.target))


def _cleaned(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Without guards, assertions and what only they used; regions without gradient written inline."""
    graph = module.graph
    inline_regions(module)
    modes.drop_aliases(graph)
    for node in reversed(list(graph.nodes)):
        path = list((node.meta.get("nn_module_stack") or {"": ("", "")}).values())[-1][0]
        node.meta = {"stack_trace": node.meta.get("stack_trace") or "", "module": _plain_path(path)}
        unused = not node.users and node.op in ("get_attr", "call_function") and _is_pure(node)
        if unused or node.op == "call_module" or node.target in _ASSERTIONS:
            graph.erase_node(node)
    return module


def _plain_path(path: str) -> str:
    """A module called twice is "fc" and then "fc@1" to torch."""
    return "" if path.startswith("_empty_nn_module_stack") else path.split("@")[0]


def _is_pure(node: Node) -> bool:
    return (
        node.op == "get_attr"
        or node.target is torch.ops.aten.sym_size.int
        or getattr(node.target, "__module__", "") in ("_operator", "math")
    )


def _build(
    working: nn.Module, model: nn.Module, exported: torch.fx.GraphModule, call: Call
) -> tuple[Graph, bool]:
    """The graph, and whether it computes in train mode what the model does."""
    cumulative = _fix_cumulative(working)
    try:
        alike = modes.make_live(exported.graph, _export(working.train(), model, call).graph)
    except TraceError as error:
        modes.make_live_by_name(exported.graph, str(error))
        alike = False
    tied = _tied(working)
    root = _containers(working, exported)
    for node in exported.graph.find_nodes(op="get_attr"):
        node.target = tied.get(str(node.target), node.target)
    modes.track_batches(exported.graph, root, cumulative)
    flags = {path: module.training for path, module in model.named_modules(remove_duplicate=False)}
    for path, module in root.named_modules(remove_duplicate=False):
        module.training = flags.get(path, model.training)
    return Graph(root, exported.graph, call.signature(), tied), alike


def _fix_cumulative(working: nn.Module) -> set[str]:
    """Paths of batch norms with ``momentum=None``; a number for it, as export cannot read counters."""
    paths = set()
    for path, module in working.named_modules(remove_duplicate=False):
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is None:
            module.momentum = 0.1
            paths.add(path)
    return paths


def _tied(working: nn.Module) -> dict[str, str]:
    """Every further name of a parameter or buffer, with its first name."""
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, tensor in (
        *working.named_parameters(remove_duplicate=False),
        *working.named_buffers(remove_duplicate=False),
    ):
        if first.setdefault(id(tensor), name) != name:
            tied[name] = first[id(tensor)]
    return tied


def _containers(working: nn.Module, exported: torch.fx.GraphModule) -> nn.Module:
    """The tree of the user's modules as plain ones, with the weights of ``working`` and the constants."""
    plain: dict[int, nn.Module] = {}
    for module in working.modules():
        container = plain[id(module)] = nn.Module()
        container._parameters.update(module._parameters)
        container._buffers.update(module._buffers)
        container._non_persistent_buffers_set.update(module._non_persistent_buffers_set)
    for module in working.modules():
        for name, child in module._modules.items():
            if child is not None:
                plain[id(module)].add_module(name, plain[id(child)])
    root = plain[id(working)]
    for node in exported.graph.find_nodes(op="get_attr"):
        _hold_constant(root, exported, node)
    return root


def _hold_constant(root: nn.Module, exported: torch.fx.GraphModule, node: Node) -> None:
    """Keep a tensor that is neither parameter nor buffer as a buffer outside of the state_dict."""
    path, _, name = str(node.target).rpartition(".")
    owner = root
    for part in path.split(".") if path else ():
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        owner = owner.get_submodule(part)
    if name == "training" or name in owner._parameters or name in owner._buffers:
        return
    value = operator.attrgetter(str(node.target))(exported)
    if not isinstance(value, Tensor):
        raise TraceError(
            f"{node.target!r} ({type(value).__name__}) is not a tensor; used at {source_line(node)}"
        )
    owner.register_buffer(name, value.detach().clone(), persistent=False)


def _verify(graph: Graph, probe: nn.Module, model: nn.Module, call: Call, training: bool) -> None:
    """The graph and the model agree, at the example's batch size (2 where it is 1) and at another one."""
    for rows in (max(call.batch, 2), max(call.batch, 2) + 1):
        try:
            ours = pytree.tree_leaves(call.of(copy.deepcopy(graph).train(training), rows))
            theirs = pytree.tree_leaves(call.of(copy.deepcopy(probe).train(training), rows))
        except Exception as error:  # the user's model may raise anything at a size it was not written for
            raise _differs(
                model, call, rows, f"at batch size {rows}: {type(error).__name__}: {error}"
            ) from error
        if len(ours) != len(theirs) or not all(map(_agree, ours, theirs)):
            mode = "train" if training else "eval"
            raise _differs(model, call, rows, f"graph and model differ in {mode} mode at batch size {rows}")


def _agree(ours: object, theirs: object) -> bool:
    if not isinstance(ours, Tensor) or not isinstance(theirs, Tensor):
        return bool(ours == theirs)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    if ours.is_meta:
        return True
    if not ours.is_floating_point():
        return torch.equal(ours, theirs)
    return torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5, equal_nan=True)


def _differs(model: nn.Module, call: Call, rows: int, reason: str) -> TraceError:
    line = ""
    if rows > max(call.batch, 2):
        line = blame.line_of_fixed_batch(lambda rows: call.of(_copied(model).eval(), rows), None, call.batch)
    return _refusal(model, line or blame.forward_line(model), "batch" if line else "other", reason)


def _refusal(model: nn.Module, line: str, kind: str, reason: str) -> TraceError:
    return TraceError(
        f"{type(model).__name__} cannot be traced:\n  {line}\n{blame.REPAIRS[kind]}\n({reason})"
    )


@contextmanager
def _exporting() -> Iterator[None]:
    """Without the fused attention of inference, which hides weights, and without what torch.export prints:
    the TraceError says it better.
    """
    loggers = [logging.getLogger(n) for n in logging.root.manager.loggerDict if n.split(".")[0] == "torch"]
    levels = [logger.level for logger in loggers]
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
