"""What ``torch.onnx.export`` need not do again: its table of operators, and decompositions where there are none.

It makes the table anew in every call, parsing the source of five hundred functions, which takes longer than all else
that is done to a small network; it traces the program once more to decompose operators that have no form in ONNX, and
again to convert arguments of different types to one, though most networks have neither. A recipe exports after every
pass. The shortcuts end where torch is not as expected:
then it works as it does by itself, more slowly and with the same result.
"""

from __future__ import annotations

import copy
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.fx import Node

from gossamer.graph import note

aten = torch.ops.aten
_tables: dict[tuple[Any, ...], Any] = {}


@contextmanager
def shortcuts() -> Iterator[None]:
    """While open, exports are quick."""
    try:
        from torch.onnx._internal.exporter import _decomp, _fx_passes, _registration
    except ImportError:
        _tell_slow()
        yield
        return
    with ExitStack() as patches:
        registry: Any = getattr(_registration, "ONNXRegistry", None)
        made = vars(registry).get("from_torchlib") if registry else None
        if isinstance(made, classmethod):
            patches.enter_context(patch.object(registry, "from_torchlib", classmethod(_kept(made))))
        else:
            _tell_slow()
        decompose: Any = getattr(_fx_passes, "decompose_with_registry", None)
        known: Any = getattr(_decomp, "get_onnx_implemented_overloads", None)
        if decompose is not None and known is not None:
            quick = _where_needed(decompose, known)
            patches.enter_context(patch.object(_fx_passes, "decompose_with_registry", quick))
        else:
            _tell_slow()
        convert: Any = getattr(_fx_passes, "insert_type_promotion_nodes", None)
        if convert is not None:
            quick = _where_types_differ(convert)
            patches.enter_context(patch.object(_fx_passes, "insert_type_promotion_nodes", quick))
        else:
            _tell_slow()
        yield


def _tell_slow() -> None:
    note(
        "lower",
        f"torch {torch.__version__} has its ONNX exporter arranged in another way: lowering works, more slowly",
    )


def _kept(made: Any) -> Callable[..., Any]:
    """``made``, which reads a table, with copies of what it gave the first time."""

    def table(cls: Any, *args: Any, **options: Any) -> Any:
        # torchvision's operators are in the table once they are in the process
        key = (*args, *sorted(options.items()), "torchvision" in sys.modules)
        if key not in _tables:
            _tables[key] = made.__get__(None, cls)(*args, **options)
        kept = copy.copy(_tables[key])  # to whose functions an export adds its own
        kept.functions = {name: list(forms) for name, forms in kept.functions.items()}
        return kept

    return table


def _where_needed(decompose: Any, known: Any) -> Callable[..., Any]:
    """``decompose``, for programs with an operator that has no form in ONNX or that changes its input."""

    def needed(program: torch.export.ExportedProgram, registry: Any) -> torch.export.ExportedProgram:
        forms = set(known(registry))
        for node in list(program.graph.nodes):
            _write_out(node)
        targets = {node.target for node in program.graph.nodes if node.op not in ("placeholder", "output")}
        return (
            program if all(_has_form(target, forms) for target in targets) else decompose(program, registry)
        )

    return needed


def _where_types_differ(convert: Any) -> Callable[..., Any]:
    """``convert``, for programs with an operator that might convert its arguments."""

    def needed(module: torch.fx.GraphModule) -> None:
        if not all(map(_keeps_types, module.graph.nodes)) or sum(1 for _ in module.modules()) > 1:
            convert(module)

    return needed


def _keeps_types(node: Node) -> bool:
    """Whether no argument of the node can need another type: all are tensors of one floating type, or it is none of
    torch's own operators, which alone convert, or it looks up a table.
    """
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten" or target in _LOOK_UP:
        return True
    values = [source.meta.get("val") for source in node.all_input_nodes]
    types = {value.dtype for value in values if isinstance(value, torch.Tensor)}
    return len(types) == 1 and types.pop().is_floating_point and not any(map(_is_complex, node.args))


def _is_complex(value: Any) -> bool:
    return isinstance(value, complex)


_LOOK_UP = {aten.embedding.default}


# Assertions are taken out by the exporter afterwards.
_NEEDS_NO_FORM = {
    operator.getitem,
    aten._assert_async.default,
    aten._assert_async.msg,
    aten._assert_scalar.default,
    aten._assert_tensor_metadata.default,
    aten.sym_constrain_range_for_size.default,
}


def _has_form(target: Any, forms: set[Any]) -> bool:
    if target in _NEEDS_NO_FORM:
        return True
    schema = getattr(target, "_schema", None)  # a function of Python has none
    return target in forms and (schema is None or not schema.is_mutable)


# Other names of operators that have a form.
_SAME_AS: dict[Any, Any] = {
    aten.__and__.Tensor: aten.bitwise_and.Tensor,
    aten.__or__.Tensor: aten.bitwise_or.Tensor,
}


def _write_out(node: Node) -> None:
    """In place, as torch decomposes them: the operators without a form that most networks have."""
    node.target = _SAME_AS.get(node.target, node.target)
    if any(user.op == "output" for user in node.users):
        return  # the program knows its outputs by the names of their nodes
    if node.target is aten.batch_norm.default:
        _write_out_batch_norm(node)
    elif node.target is aten.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1]:  # type: ignore[arg-type]
        _replace(node, aten.mean.dim, (node.args[0], [-1, -2], True), node.meta.get("val"))
    elif getattr(node.target, "overloadpacket", None) is aten.to:
        _write_out_conversion(node)


def _write_out_conversion(node: Node) -> None:
    """Devices and layouts are none of ONNX's."""
    source: Any = node.args[0]
    value = node.meta["val"]
    if source.meta["val"].dtype != value.dtype:
        copied = _replace(node, aten._to_copy.default, (source,), value)
        copied.kwargs = {"dtype": value.dtype}
        return
    node.replace_all_uses_with(source)
    node.graph.erase_node(node)


def _write_out_batch_norm(node: Node) -> None:
    x, weight, bias, mean, variance, training, momentum, eps, _ = node.args
    if training or mean is None:
        return
    value = node.meta["val"]
    nothing = value.new_empty(0)
    whole = (x, weight, bias, mean, variance, momentum, eps)
    made = _replace(node, aten._native_batch_norm_legit_no_training.default, whole, (value, nothing, nothing))
    with node.graph.inserting_after(made):
        first = node.graph.call_function(operator.getitem, (made, 0))
    first.meta = {**made.meta, "val": value}
    made.replace_all_uses_with(first, delete_user_cb=lambda user: user is not first)


def _replace(node: Node, target: Any, args: tuple[Any, ...], value: Any) -> Node:
    """The node that is there instead, with ``value`` as what the exporter knows of its result."""
    with node.graph.inserting_before(node):
        made = node.graph.call_function(target, args)
    made.meta = {**node.meta, "val": value}
    node.replace_all_uses_with(made)
    node.graph.erase_node(node)
    return made
