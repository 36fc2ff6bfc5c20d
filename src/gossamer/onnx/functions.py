"""Model-local functions: written out where they are called, once known that this ends and stays small."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import FunctionProto, ModelProto, NodeProto, inliner

from gossamer.errors import FormatError, UnsupportedError

from .checking import check

_MAX_NODES = 1_000_000
_MAX_DEPTH = 100
_Key = tuple[str, str, str]


def inlined(model: ModelProto) -> ModelProto:
    """The model with every call of its own functions replaced by their bodies; itself where it has none.

    Raises FormatError where functions call each other in a circle or grow beyond a million nodes.
    """
    if not model.functions:
        return model
    _Growth(model.functions).check(model.graph.node)
    try:
        flat = inliner.inline_local_functions(model, convert_version=True)
    except (RuntimeError, ValueError, TypeError) as error:
        raise FormatError(f"its functions cannot be written out in place: {error}") from error
    check(flat)  # bodies are checked where they now stand
    defined = {_key(function) for function in model.functions}
    for node in flat.graph.node:
        if _call(node) in defined:
            raise UnsupportedError(
                f"function {node.domain}::{node.op_type} uses another operator version than the model and "
                "cannot be written out in place; save the model with one version throughout"
            )
    return flat


def _key(function: FunctionProto) -> _Key:
    return function.domain, function.name, function.overload


def _call(node: NodeProto) -> _Key:
    return node.domain, node.op_type, node.overload


class _Growth:
    """How many nodes a function becomes when written out; finds circles on the way."""

    def __init__(self, functions: Iterable[FunctionProto]) -> None:
        self.bodies = {_key(function): function.node for function in functions}
        self.sizes: dict[_Key, int] = {}
        self.open: list[_Key] = []

    def check(self, nodes: Iterable[NodeProto]) -> int:
        total = sum(self._of(node) for node in nodes)
        if total > _MAX_NODES:
            raise FormatError(f"its functions, written out in place, exceed {_MAX_NODES} nodes")
        return total

    def _of(self, node: NodeProto) -> int:
        key = _call(node)
        if key not in self.bodies:
            return 1 + sum(self.check(item.g.node) for item in node.attribute if item.HasField("g"))
        if key in self.open:
            raise FormatError(f"function {key[0]}::{key[1]} calls itself")
        if len(self.open) >= _MAX_DEPTH:
            raise FormatError(f"functions call each other more than {_MAX_DEPTH} deep")
        if key not in self.sizes:
            self.open.append(key)
            self.sizes[key] = self.check(self.bodies[key])
            self.open.pop()
        return self.sizes[key]
