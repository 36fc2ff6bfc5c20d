"""A graph as plain data: tensors, numbers, strings, lists and dicts, so that loading it executes nothing.

``torch.save(to_state(graph), path)`` and ``from_state(torch.load(path, weights_only=True))`` give the exact
same graph: nodes, weights, transforms, tied weights, flags. Operators are looked up by name under
``torch.ops`` and in a fixed list; transforms among the subclasses of WeightTransform.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import keyword
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Node
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo
from torch.nn.utils import parametrize
from torch.utils import _pytree as pytree

from gossamer.errors import CheckpointError, GraphError
from gossamer.graph import inline, modes
from gossamer.graph.module import Graph, Input
from gossamer.graph.transform import (
    add_transform,
    class_name,
    transform_classes,
    transformed_weights,
    transforms,
)
from gossamer.numerics import affine, batchnorm, signs  # noqa: F401 (signs defines an operator)

VERSION = 1

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        f"operator.{name}": getattr(operator, name)
        for name in (
            *(
                "add",
                "and_",
                "eq",
                "floordiv",
                "ge",
                "getitem",
                "gt",
                "le",
                "lt",
                "mod",
                "mul",
                "ne",
                "neg",
                "not_",
            ),
            *("or_", "pow", "pos", "sub", "truediv"),
        )
    },
    **{f"torch.{f.__name__}": f for f in (torch.sym_float, torch.sym_int, torch.sym_max, torch.sym_min)},
    **{
        f"gossamer.{f.__name__}": f
        for f in (
            modes.choose,
            modes.count_batch,
            modes.average_factor,
            inline.set_grad,
            affine.track,
            affine.learn,
            batchnorm.follow_fold,
        )
    },
}
_FUNCTION_NAMES = {function: name for name, function in _FUNCTIONS.items()}
_REFUSED = {"aten.from_file.default", "aten.from_file.out"}  # they open files


def to_state(graph: Graph) -> dict[str, Any]:
    """The graph as data for ``torch.save``, loadable with ``weights_only=True``. Tensors are not copied."""
    codegen = graph.graph._codegen
    if not isinstance(codegen, _PyTreeCodeGen) or codegen.pytree_info.out_spec is None:
        raise GraphError("a graph is called by names and returns a structure; this one was not made by trace")
    info = codegen.pytree_info
    return {
        "version": VERSION,
        "signature": [
            {"name": i.name, "shape": list(i.shape), "dtype": _dtype_name(i.dtype), "batched": i.batched}
            for i in graph.signature
        ],
        "arguments": list(info.orig_args),
        "inputs": _dump_structure(info.in_spec),
        "outputs": _dump_structure(codegen.pytree_info.out_spec),
        "nodes": [_node_state(node) for node in graph.graph.nodes],
        "modules": _module_states(graph),
        "tensors": [_tensor_state(*entry) for entry in _tensors(graph)],
        "tied": dict(graph.tied),
        "units_before": dict(graph.units_before),
        "integer_only": graph.integer_only,
        "transforms": {weight: _transform_states(graph, weight) for weight in transformed_weights(graph)},
    }


def from_state(state: Mapping[str, Any]) -> Graph:
    """The graph that :func:`to_state` wrote. Raises CheckpointError where ``state`` is not one."""
    version = state.get("version") if isinstance(state, Mapping) else None
    if version != VERSION:
        raise CheckpointError(f"this is no graph of version {VERSION} (its version: {version!r})")
    try:
        return _restore(state)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(f"the graph in this checkpoint is damaged: {error!r}") from error


def fingerprint(graph: Graph) -> str:
    """A stable hash (hex) of structure, weights and transforms; equal graphs have equal ones on every
    machine.

    Where the weights are, the train and eval flags, and source lines do not count.
    """
    state = to_state(graph)
    digest = hashlib.blake2b(digest_size=20)
    nodes = [{k: v for k, v in node.items() if k not in ("source", "module")} for node in state["nodes"]]
    left_out = ("nodes", "modules", "version")
    rest = {k: v for k, v in state.items() if k not in left_out}
    _digest({**rest, "nodes": nodes}, digest.update)
    return digest.hexdigest()


def _digest(value: Any, update: Callable[[bytes], None]) -> None:
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous()
        update(f"tensor {data.dtype} {tuple(data.shape)}".encode())
        update(data.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value):
            update(f"key {key}".encode())
            _digest(value[key], update)
    elif isinstance(value, list) and value[:1] != ["device"]:
        update(f"list {len(value)}".encode())
        for item in value:
            _digest(item, update)
    elif not isinstance(value, list):
        update(f"{type(value).__name__} {value!r}".encode())


def _dump_structure(spec: pytree.TreeSpec) -> str:
    try:
        return pytree.treespec_dumps(spec)
    except NotImplementedError as error:
        raise GraphError(
            f"the model's output type cannot be stored: {error}; return tuples and dicts"
        ) from error


def _load_structure(text: str) -> pytree.TreeSpec:
    try:
        return pytree.treespec_loads(text)
    except NotImplementedError as error:
        names = json.loads(text)[1]["type"]
        raise CheckpointError(
            f"the graph returns a {names}, which is not known here: import the package that defines it first"
        ) from error


def _plain_modules(graph: Graph) -> Iterator[tuple[str, nn.Module]]:
    """The containers, without torch's own for parametrizations; one that is there twice has both names."""
    hidden = tuple(f"{w.rpartition('.')[0]}.parametrizations".lstrip(".") for w in transformed_weights(graph))
    for path, module in graph.named_modules(remove_duplicate=False):
        if not any(path == h or path.startswith(f"{h}.") for h in hidden):
            yield path, module


def _module_states(graph: Graph) -> dict[str, bool | str]:
    """For every path the ``training`` flag; for one that leads to a module named before, the earlier path."""
    first: dict[int, str] = {}
    states: dict[str, bool | str] = {}
    for path, module in _plain_modules(graph):
        seen = first.setdefault(id(module), path)
        states[path] = module.training if seen == path else seen
    return states


def _tensors(graph: Graph) -> Iterator[tuple[str, Tensor, bool]]:
    """All weights, buffers and constants: name, value before transforms, whether the state_dict has it."""
    for path, module in _plain_modules(graph):
        prefix = f"{path}." if path else ""
        own = {**module._parameters, **module._buffers}
        if parametrize.is_parametrized(module):
            steps = cast(Mapping[str, parametrize.ParametrizationList], module.parametrizations)
            own.update({name: step.original for name, step in steps.items()})
        for name, tensor in own.items():
            if tensor is not None and prefix + name not in graph.tied:
                yield prefix + name, tensor, name not in module._non_persistent_buffers_set


def _tensor_state(name: str, tensor: Tensor, persistent: bool) -> dict[str, Any]:
    return {
        "name": name,
        "value": tensor.detach(),
        "parameter": isinstance(tensor, nn.Parameter),
        "trains": tensor.requires_grad,
        "persistent": persistent,
    }


def _transform_states(graph: Graph, weight: str) -> list[dict[str, Any]]:
    return [
        {
            "class": class_name(type(transform)),
            "arguments": {
                k: v.detach() if isinstance(v, Tensor) else v for k, v in transform.arguments().items()
            },
            "trains": {name: p.requires_grad for name, p in transform.named_parameters()},
        }
        for transform in transforms(graph, weight)
    ]


def _node_state(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": node.op,
        "target": node.target if isinstance(node.target, str) else function_name(node),
        "args": [_encode(a) for a in node.args],
        "kwargs": {k: _encode(v) for k, v in node.kwargs.items()},
        "module": str(node.meta.get("module", "")),
        "source": str(node.meta.get("stack_trace") or ""),
    }


def function_name(node: Node) -> str:
    """How a call_function node's target is written down. Raises GraphError for one that a graph must not
    call.
    """
    if isinstance(node.target, torch._ops.OpOverload):
        return f"ops.{node.target}"
    name = _FUNCTION_NAMES.get(cast(Callable[..., Any], node.target))
    if name is None:
        raise GraphError(f"node {node.name!r} calls {node.target}, which is no torch operator")
    return name


def _target(op: str, name: str) -> Any:
    if op == "get_attr":
        return ".".join(_part(part) for part in name.split("."))
    if op != "call_function":
        return _identifier(name)
    if not name.startswith("ops."):
        return _FUNCTIONS[name]
    _, namespace, packet, overload = name.split(".")
    found = getattr(getattr(getattr(torch.ops, namespace), packet), overload)
    if not isinstance(found, torch._ops.OpOverload) or str(found) in _REFUSED:
        raise CheckpointError(f"{name!r} is not an operator that a graph may call")
    return found


def _identifier(name: str) -> str:
    """fx writes these names into the source of ``forward``, so they must be nothing but names."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise CheckpointError(f"{name!r} is not a name")
    return name


def _part(name: str) -> str:
    """One part of a weight's path: also in quotes nothing but a name ("0", "weight")."""
    if not re.fullmatch(r"[^\"'\\\x00-\x1f.]+", name):
        raise CheckpointError(f"{name!r} is not a name")
    return name


def _encode(value: Any) -> Any:
    """An argument as data: what is neither number, string nor None is a list that begins with what it is."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return ["tuple" if isinstance(value, tuple) else "list", *(_encode(v) for v in value)]
    for kind, (type_, encode, _) in _KINDS.items():
        if isinstance(value, type_):
            return [kind, *encode(value)]
    raise GraphError(f"{value!r} ({type(value).__name__}) cannot be an argument in a graph")


def _decode(value: Any, nodes: Mapping[str, Node]) -> Any:
    if not isinstance(value, list):
        return value
    kind, *parts = value
    if kind == "node":
        return nodes[parts[0]]
    parts = [_decode(p, nodes) for p in parts]
    return parts if kind == "list" else tuple(parts) if kind == "tuple" else _KINDS[kind][2](*parts)


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name!r} is no dtype")
    return found


_FORMATS = {
    str(f): f
    for f in (
        torch.contiguous_format,
        torch.channels_last,
        torch.channels_last_3d,
        torch.preserve_format,
        torch.strided,
    )
}

# What it is called -> its type, how it is taken apart, how it is made again.
_KINDS: dict[str, tuple[Any, Callable[[Any], Any], Callable[..., Any]]] = {
    "node": (Node, lambda n: (n.name,), str),
    "dict": (Mapping, lambda d: [["list", k, _encode(v)] for k, v in d.items()], lambda *items: dict(items)),
    "slice": (slice, lambda s: [_encode(p) for p in (s.start, s.stop, s.step)], slice),
    "dtype": (torch.dtype, lambda d: (_dtype_name(d),), _dtype),
    "device": (torch.device, lambda d: (str(d),), torch.device),
    "format": ((torch.memory_format, torch.layout), lambda f: (str(f),), _FORMATS.__getitem__),
    "complex": (complex, lambda c: (c.real, c.imag), complex),
}


def _restore(state: Mapping[str, Any]) -> Graph:
    graph = torch.fx.Graph()
    nodes: dict[str, Node] = {}
    for entry in state["nodes"]:
        args = tuple(_decode(a, nodes) for a in entry["args"])
        kwargs = {_identifier(k): _decode(v, nodes) for k, v in entry["kwargs"].items()}
        target = _target(entry["op"], entry["target"])
        node = graph.create_node(entry["op"], target, args, kwargs, name=entry["name"])
        node.meta = {"stack_trace": entry["source"], "module": entry["module"]}
        nodes[entry["name"]] = node
    inputs, outputs = _load_structure(state["inputs"]), _load_structure(state["outputs"])
    arguments = [_identifier(name) for name in state["arguments"]]
    for name in inputs.child(1).context:
        _identifier(name)
    graph.set_codegen(_PyTreeCodeGen(_PyTreeInfo(arguments, inputs, outputs)))
    signature = tuple(
        Input(i["name"], tuple(i["shape"]), _dtype(i["dtype"]), i["batched"]) for i in state["signature"]
    )
    restored = Graph(_restore_modules(state), graph, signature, dict(state["tied"]))
    restored.units_before = dict(state.get("units_before", {}))
    restored.integer_only = bool(state.get("integer_only", False))
    for weight, steps in state["transforms"].items():
        for step in steps:
            _restore_transform(restored, weight, step)
    return restored


def _restore_modules(state: Mapping[str, Any]) -> nn.Module:
    root = nn.Module()
    modules = {"": root}
    for path, training in state["modules"].items():
        owner, _, name = path.rpartition(".")
        if path:
            modules[path] = modules[training] if isinstance(training, str) else nn.Module()
            modules[owner].add_module(name, modules[path])
        if not isinstance(training, str):
            modules[path].training = training
    tensors = {entry["name"]: entry for entry in state["tensors"]}
    values: dict[str, Tensor] = {}
    for name, entry in tensors.items():
        value = entry["value"].clone()
        values[name] = nn.Parameter(value, requires_grad=entry["trains"]) if entry["parameter"] else value
    for name, source in (*((n, n) for n in tensors), *state["tied"].items()):
        owner, _, last = name.rpartition(".")
        if tensors[source]["parameter"]:
            modules[owner].register_parameter(last, cast(nn.Parameter, values[source]))
        else:
            modules[owner].register_buffer(last, values[source], persistent=tensors[source]["persistent"])
    return root


def _restore_transform(graph: Graph, weight: str, state: Mapping[str, Any]) -> None:
    kind = str(state["class"])
    if kind.startswith("gossamer.") and kind not in transform_classes():
        with suppress(ImportError, ValueError):  # one's own package is imported, no other
            importlib.import_module(kind.rpartition(".")[0])
    classes = transform_classes()
    if kind not in classes:
        raise CheckpointError(
            f"weight {weight!r} has the transform {kind!r}, which is not known here: import its module first"
        )
    transform = classes[kind](**state["arguments"])
    for name, parameter in transform.named_parameters():
        parameter.requires_grad_(state["trains"][name])
    add_transform(graph, weight, transform)
