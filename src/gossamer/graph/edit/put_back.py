"""The pruned weights in a copy of the user's own module, with its attributes brought up to date.

The numbers of a module live in its attributes (``in_channels``, ``num_features``), which a weight's new shape tells;
those of its ``forward`` live in the code, which it does not. So the copy is run beside the graph, and where it does not
compute the same, an error says which module cannot follow.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils import _pytree as pytree

from gossamer.errors import GraphError
from gossamer.graph import blame
from gossamer.graph.layers import layers
from gossamer.graph.modes import arguments
from gossamer.graph.module import Graph
from gossamer.graph.transform import effective, original


def put_back(graph: Graph, model: nn.Module) -> nn.Module:
    """A copy of ``model`` with the weights of ``graph``, which was traced from it and then pruned.

    Transforms (masks, shared values) are applied, so the copy has plain weights. Works where the attributes of the
    modules whose weights changed shape say all about them: Conv, ConvTranspose, Linear, Bilinear, Embedding, batch,
    layer, group, instance and RMS norm, LSTM, GRU, RNN, PReLU. Raises GraphError where a module's attributes do not
    suffice, or its code has sizes of its own, naming it and the line.
    """
    new = copy.deepcopy(model)
    tensors = {
        **dict(new.named_parameters(remove_duplicate=False)),
        **dict(new.named_buffers(remove_duplicate=False)),
    }
    shared: dict[str, Tensor] = {}
    for name, old in tensors.items():
        first = graph.tied.get(name, name)
        value = shared.get(first)
        if value is None:
            value = shared[first] = _value(graph, first, old)
        _set(new, name, value, old.shape != value.shape)
    _update_all(new, graph)
    _verify(new, graph)
    return new


def _value(graph: Graph, name: str, old: Tensor) -> Tensor:
    try:
        original(graph, name)
    except AttributeError as error:
        raise GraphError(f"the graph has no {name!r}: it was traced from another model") from error
    value = effective(graph, name).to(old.device).clone()
    return nn.Parameter(value, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else value


def _set(root: nn.Module, name: str, value: Tensor, changed: bool) -> None:
    path, _, last = name.rpartition(".")
    owner = root.get_submodule(path)
    if parametrize.is_parametrized(owner, last) and changed:
        raise GraphError(f"{name!r} of the model is parametrized: remove the parametrization before tracing")
    (owner._parameters if last in owner._parameters else owner._buffers)[last] = value  # type: ignore[assignment]


def _update_all(new: nn.Module, graph: Graph) -> None:
    groups = {layer.weight: layer for layer in layers(graph)}
    norms = {
        str(weight.target): int(known["num_groups"])
        for node in graph.graph.find_nodes(op="call_function", target=torch.ops.aten.group_norm.default)
        if isinstance((known := arguments(node)).get("weight"), torch.fx.Node)
        for weight in [known["weight"]]
    }
    for path, module in new.named_modules():
        for kind, update in _UPDATES.items():
            if isinstance(module, kind):
                update(module)
        name = graph.tied.get(f"{path}.weight".lstrip("."), f"{path}.weight".lstrip("."))
        if isinstance(module, nn.modules.conv._ConvNd) and name in groups:
            module.groups = int(arguments(groups[name].node)["groups"])
            inward = module.weight.shape[0 if module.transposed else 1]
            outward = module.weight.shape[1 if module.transposed else 0]
            module.in_channels = inward if module.transposed else inward * module.groups
            module.out_channels = outward * module.groups if module.transposed else outward
        if isinstance(module, nn.GroupNorm) and name in norms:
            module.num_groups = norms[name]


def _linear(module: Any) -> None:
    module.out_features, module.in_features = module.weight.shape


def _bilinear(module: Any) -> None:
    module.out_features, module.in1_features, module.in2_features = module.weight.shape


def _embedding(module: Any) -> None:
    module.num_embeddings, module.embedding_dim = module.weight.shape


def _channelwise(module: Any) -> None:
    known = [t for t in (module.weight, getattr(module, "running_mean", None)) if t is not None]
    if known:
        module.num_features = known[0].shape[0]


def _layer_norm(module: Any) -> None:
    if module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)


def _group_norm(module: Any) -> None:
    if module.weight is not None:
        module.num_channels = module.weight.shape[0]


def _recurrent(module: Any) -> None:
    module.hidden_size = module.weight_hh_l0.shape[1]
    module.input_size = module.weight_ih_l0.shape[1]
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


def _prelu(module: Any) -> None:
    module.num_parameters = module.weight.shape[0]


_UPDATES: dict[type[nn.Module], Callable[[Any], None]] = {
    nn.Linear: _linear,
    nn.Bilinear: _bilinear,
    nn.Embedding: _embedding,
    nn.modules.batchnorm._NormBase: _channelwise,
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.RNNBase: _recurrent,
    nn.PReLU: _prelu,
}


def _verify(new: nn.Module, graph: Graph) -> None:
    """Both give the same outputs on random inputs, in eval mode."""
    inputs = _random_inputs(graph)
    flags = {path: module.training for path, module in new.named_modules()}
    try:
        with torch.no_grad():
            wanted = pytree.tree_leaves(copy.deepcopy(graph).eval()(**_copies(inputs)))
            got = pytree.tree_leaves(new.eval()(**_copies(inputs)))
    except Exception as error:  # the user's code may raise anything
        raise GraphError(
            f"{type(new).__name__} cannot take the pruned weights back, because its code counts channels itself: "
            f"{type(error).__name__}: {error}\n  {blame.line_of_exception(error, new)}\n"
            "use the graph as the network, or derive that number from the weights"
        ) from error
    for path, module in new.named_modules():
        module.training = flags[path]
    if len(wanted) != len(got) or not all(map(_agree, wanted, got)):
        raise GraphError(
            f"{type(new).__name__} with the pruned weights computes something else than the graph: it has numbers of "
            "its own that count channels (a scale, a group count); use the graph as the network"
        )


def _copies(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in inputs.items()}


def _random_inputs(graph: Graph) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    device = next((p.device for p in graph.parameters()), torch.device("cpu"))
    made = {}
    for spec in graph.signature:
        value = torch.randn(spec.sized(2), generator=generator)
        made[spec.name] = (value if spec.dtype.is_floating_point else value > -2).to(device, spec.dtype)
    return made


def _agree(wanted: Any, got: Any) -> bool:
    if not isinstance(wanted, Tensor) or not isinstance(got, Tensor):
        return bool(wanted == got)
    if wanted.shape != got.shape:
        return False
    return torch.allclose(wanted.double(), got.double(), rtol=1e-3, atol=1e-4, equal_nan=True)
