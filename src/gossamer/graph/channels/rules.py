"""What every operator does with the dimensions of its arguments: one rule each, found by the operator's name.

A rule takes the flow, the node and its arguments by name, and gives the result's dimensions (a list of them for
several results). None says that the operator cannot be followed; what has no rule cannot either.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from gossamer.graph.channels import movement, products, recurrent
from gossamer.graph.channels.flow import Flow, Label
from gossamer.graph.channels.ids import Dim
from gossamer.graph.layers import operator_name

Arguments = Mapping[str, Any]
Rule = Callable[[Flow, Node, Arguments], Any]


def rule_of(node: Node) -> Rule:
    """The rule of an operator."""
    if node.target is operator.getitem:
        return _item
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return _unknown
    named = _RULES.get(f"{operator_name(node)}.{target._overloadname}") or _RULES.get(operator_name(node))
    return named or (_pointwise if torch.Tag.pointwise in target.tags else _unknown)


def _unknown(flow: Flow, node: Node, arguments: Arguments) -> None:
    """An operator that nothing is known of."""


def _item(flow: Flow, node: Node, arguments: Arguments) -> Any:
    source, place = node.args
    found = flow.labels.get(source)  # type: ignore[arg-type]
    return found[place] if isinstance(found, list) and isinstance(place, int) else None


def _pointwise(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """Element by element, with broadcasting: dimensions of the same size agree."""
    shape = flow.shape(node)
    result: list[Dim | None] = [None] * len(shape)
    for argument in node.all_input_nodes:
        label = flow.label(argument)
        for place, dim in enumerate(label, start=len(shape) - len(label)):
            if dim.size != shape[place] or (dim.size == 1 and result[place] is not None):
                continue
            known = result[place]
            if known is None:
                result[place] = dim
            else:
                flow.tie(known, dim)
    return tuple(dim or flow.stuck(size) for dim, size in zip(result, shape, strict=True))


def _like(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """A tensor of the shape of the first argument, whose elements are all alike or its own."""
    return flow.label(next(iter(arguments.values())))


def _channelwise(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """batch_norm, instance_norm, prelu: one number per channel (dimension 1) in each weight."""
    given = flow.label(next(iter(arguments.values())))
    for name in ("weight", "bias", "running_mean", "running_var"):
        if len(given) > 1:
            flow.weight(arguments.get(name), given[1])
    if operator_name(node) == "instance_norm":
        for dim in given[2:]:
            flow.pin(dim, "positions in")
    return given


def _layer_norm(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """Normalized over the last dimensions: over what is left of them."""
    given = flow.label(arguments["input"])
    last = given[len(given) - len(arguments["normalized_shape"]) :]
    flow.weight(arguments.get("weight"), *last)
    flow.weight(arguments.get("bias"), *last)
    return given


def _group_norm(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """Groups of channels of one size: the same number leaves every group, or whole groups leave."""
    given = flow.label(arguments["input"])
    groups = int(arguments["num_groups"])
    movement.split(flow, given[1], (groups, given[1].size // groups))
    return _channelwise(flow, node, arguments)


def _reduced(flow: Flow, node: Node, arguments: Arguments) -> Any:
    """sum, mean, norm ...: over what is left; the dimensions that remain go through."""
    given = flow.label(next(iter(arguments.values())))
    dims = arguments.get("dim")
    listed = dims if isinstance(dims, (list, tuple)) else [] if dims is None else [dims]
    gone = {int(d) % max(1, len(given)) for d in listed} or set(range(len(given)))
    keep = bool(arguments.get("keepdim", False))
    label = tuple(
        flow.stuck(1) if place in gone else dim
        for place, dim in enumerate(given)
        if keep or place not in gone
    )
    value = flow.values[node]
    if isinstance(value, Tensor):
        return label
    places_used = any(user.args[1] == 1 for user in node.users if user.target is operator.getitem)
    if places_used and operator_name(node) in ("max", "min"):  # the places of the largest count from zero
        for place in gone:
            flow.pin(given[place])
    return [label for _ in value]


def _along(flow: Flow, node: Node, arguments: Arguments) -> Any:
    """argmax, sort, cumsum, fft ...: the order along some dimensions matters, so they stay."""
    given = list(flow.label(next(iter(arguments.values()))))
    dims = arguments.get("dim")
    listed = (
        list(range(len(given))) if dims is None else list(dims) if isinstance(dims, (list, tuple)) else [dims]
    )
    ordered = {int(place) % len(given) for place in listed}
    for place in ordered:
        flow.pin(given[place])
    value = flow.values[node]
    labels = []
    for each in [value] if isinstance(value, Tensor) else value:
        left = given if each.ndim == len(given) else [d for p, d in enumerate(given) if p not in ordered]
        sizes = [int(size) for size in each.shape]
        labels.append(tuple(d if d.size == s else flow.stuck(s) for d, s in zip(left, sizes, strict=True)))
    return labels[0] if isinstance(value, Tensor) else labels


def _spatial(flow: Flow, node: Node, arguments: Arguments) -> Any:
    """Pooling, resampling: every channel for itself; positions, the last dimensions, stay, but for windows of one."""
    given = flow.label(next(iter(arguments.values())))
    value = flow.values[node]
    spatial = re.search(r"(\d)d", operator_name(node))
    kept = len(given) - int(spatial[1]) if spatial else 2
    alone = [_window_of_one(arguments, place - kept) for place in range(kept, len(given))]
    for dim, untouched in zip(given[kept:], alone, strict=True):
        if not untouched:
            flow.pin(dim, "positions in")
    for other in node.all_input_nodes[1:]:
        for dim in flow.label(other)[1:]:
            flow.pin(dim, "positions in")
    labels = []
    for each in [value] if isinstance(value, Tensor) else value:
        positions = [
            dim if untouched else flow.stuck(int(size), "positions in")
            for dim, untouched, size in zip(given[kept:], alone, each.shape[kept:], strict=True)
        ]
        labels.append((*given[:kept], *positions))
    return labels[0] if isinstance(value, Tensor) else labels


def _window_of_one(arguments: Arguments, place: int) -> bool:
    """Whether pooling leaves this spatial dimension as it is."""
    for name, neutral in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
        numbers = arguments.get(name, neutral if name != "kernel_size" else None)
        if name == "stride" and not numbers:
            numbers = arguments.get("kernel_size")
        if numbers is None:
            return False
        one = numbers[place if len(numbers) > 1 else 0] if isinstance(numbers, (list, tuple)) else numbers
        if one != neutral:
            return False
    return True


def _im2col(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """im2col: (n, c, h, w) -> (n, c * kernel, positions)."""
    given = flow.label(arguments["self"])
    for dim in given[2:]:
        flow.pin(dim, "positions in")
    shape = flow.shape(node)
    kernel = shape[1] // given[1].size
    return (given[0], given[1].at(np.repeat(np.arange(given[1].size), kernel)), flow.stuck(shape[2]))


def _filled(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """zeros, ones, full ...: all elements alike, so any index may go where the size is written as a number."""
    sizes = arguments.get("size")
    shape = flow.shape(node)
    literal = isinstance(sizes, (list, tuple)) and len(sizes) == len(shape)
    return tuple(
        flow.fresh(size) if literal and isinstance(sizes[place], int) else flow.stuck(size)  # type: ignore[index]
        for place, size in enumerate(shape)
    )


def _fixed(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """arange, eye ...: every element is what its place says."""
    return tuple(flow.stuck(size) for size in flow.shape(node))


def _glu(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """a, b = halves; a * sigmoid(b)."""
    given = list(flow.label(arguments["self"]))
    axis = int(arguments["dim"]) % len(given)
    half = given[axis].size // 2
    first, second = given[axis].at(slice(None, half)), given[axis].at(slice(half, None))
    flow.tie(first, second)
    given[axis] = first
    return tuple(given)


def _embedding(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """Rows are looked up by number, so they stay; the columns are the result's last dimension."""
    rows, columns = flow.label(arguments["weight"])
    flow.pin(rows, "numbers into")
    for dim in flow.label(arguments["indices"]):
        flow.pin(dim)
    return (*flow.label(arguments["indices"]), columns)


def _complex(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """view_as_complex and back: the last dimension, real and imaginary part, stays."""
    given = flow.label(arguments["self"])
    if len(given) < len(flow.shape(node)):
        return (*given, flow.stuck(2))
    flow.pin(given[-1])
    return given[:-1]


def _gather(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """gather: the dimension that is looked up stays; the others agree with the index's."""
    given, index = list(flow.label(arguments["self"])), flow.label(arguments["index"])
    axis = int(arguments["dim"]) % len(given)
    flow.pin(given[axis])
    flow.pin(index[axis])
    for place, (dim, other) in enumerate(zip(given, index, strict=True)):
        if place != axis and dim.size == other.size:
            flow.tie(dim, other)
        elif place != axis:
            flow.pin(dim)
    return index


def _weight_norm(flow: Flow, node: Node, arguments: Arguments) -> Any:
    """g v / |v|: one norm for every index of ``dim``. What is left of v shrinks in norm, and g with it."""
    v, g = flow.label(arguments["v"]), flow.label(arguments["g"])
    axis = int(arguments["dim"]) % len(v)
    read = arguments["v"].op == arguments["g"].op == "get_attr"
    for place, dim in enumerate(v):
        if place == axis:
            flow.tie(dim, g[place])
        elif not read:
            flow.pin(dim, "norm in")
    return v if isinstance(flow.values[node], Tensor) else [v, g]


def _similarity(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """cosine_similarity: a product summed over one dimension."""
    shape = [max(a, b) for a, b in zip(flow.shape(arguments["x1"]), flow.shape(arguments["x2"]), strict=True)]
    first, second = flow.label(arguments["x1"]), flow.label(arguments["x2"])
    axis = int(arguments["dim"]) % len(shape)
    for a, b in zip(first, second, strict=True):
        if a.size == b.size:
            flow.tie(a, b)
    both = [a if a.size == size else b for a, b, size in zip(first, second, shape, strict=True)]
    return tuple(dim for place, dim in enumerate(both) if place != axis)


def _bag(flow: Flow, node: Node, arguments: Arguments) -> list[Label]:
    """embedding_bag: sums of rows; what else it gives is about the bags."""
    rows, columns = flow.label(arguments["weight"])
    flow.pin(rows, "numbers into")
    value = flow.values[node]
    first = (flow.stuck(int(value[0].shape[0])), columns)
    return [first, *(tuple(flow.stuck(int(size)) for size in v.shape) for v in value[1:])]


def _col2im(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """col2im: (n, c * kernel, positions) -> (n, c, h, w)."""
    given, shape = flow.label(arguments["self"]), flow.shape(node)
    channels, kernel = movement.split(flow, given[1], (shape[1], given[1].size // shape[1]))
    for dim in (kernel, given[2]):
        flow.pin(dim, "positions in")
    return (given[0], channels, *(flow.stuck(size, "positions in") for size in shape[2:]))


def _put(flow: Flow, node: Node, arguments: Arguments) -> Label:
    """index_put: what is indexed stays, the other dimensions agree with those of the values."""
    given, values = flow.label(arguments["self"]), flow.label(arguments["values"])
    indexed = [place for place, index in enumerate(arguments["indices"]) if index is not None]
    for index in arguments["indices"]:
        for dim in flow.label(index):
            flow.pin(dim)
    for place in indexed:
        flow.pin(given[place])
    rest = given[indexed[-1] + 1 :]
    for place, dim in enumerate(values):
        partner = place - (len(values) - len(rest))
        if partner < 0:
            flow.pin(dim)
        elif dim.size == rest[partner].size:
            flow.tie(rest[partner], dim)
    for dim in given[: indexed[0]]:
        flow.pin(dim)
    return given


def _table(**rules: tuple[Rule, str]) -> dict[str, Rule]:
    return {name: rule for rule, names in rules.values() for name in names.split()}


_RULES: dict[str, Rule] = _table(
    pointwise=(
        _pointwise,
        "__and__ __or__ __xor__ __iand__ __ior__ copy copy_ where masked_fill masked_fill_ float_power "
        "true_divide max.other min.other square dropout dropout_ alpha_dropout feature_dropout hardswish hardswish_ "
        "to contiguous clone _to_copy detach detach_ alias lift_fresh_copy lift_fresh type_as log_sigmoid fill "
        "fill_ zero_ rrelu softmax log_softmax _softmax _log_softmax bernoulli isfinite requires_grad_ native_dropout "
        "polar complex fake_quantize_per_tensor_affine nan_to_num numpy_T_ clamp_min clamp_max clip",
    ),
    like=(
        _like,
        "zeros_like ones_like full_like empty_like rand_like randn_like bernoulli_ normal_ uniform_ "
        "_safe_softmax tril triu",
    ),
    channelwise=(_channelwise, "batch_norm instance_norm prelu"),
    layer_norm=(_layer_norm, "layer_norm rms_norm"),
    group_norm=(_group_norm, "group_norm"),
    reduced=(
        _reduced,
        "sum mean var std var_mean amax amin norm linalg_vector_norm logsumexp prod any all max min max.dim min.dim",
    ),
    along=(
        _along,
        "argmax argmin sort topk cumsum cumprod argsort cummax logcumsumexp fft_fft fft_ifft fft_rfft fft_irfft "
        "fft_fft2 fft_ifft2 fft_fftn fft_ifftn fft_rfft2 fft_irfft2 fft_rfftn fft_irfftn",
    ),
    spatial=(
        _spatial,
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
        "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max_pool2d_with_indices "
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_bicubic2d "
        "upsample_linear1d upsample_trilinear3d _upsample_nearest_exact2d _upsample_bilinear2d_aa "
        "_upsample_bicubic2d_aa grid_sampler grid_sampler_2d lp_pool2d reflection_pad1d reflection_pad2d "
        "replication_pad1d replication_pad2d",
    ),
    im2col=(_im2col, "im2col"),
    col2im=(_col2im, "col2im"),
    similarity=(_similarity, "cosine_similarity"),
    bag=(_bag, "embedding_bag _embedding_bag"),
    put=(_put, "index_put index_put_"),
    filled=(_filled, "zeros ones full empty new_zeros new_ones new_full new_empty rand randn"),
    fixed=(_fixed, "arange eye linspace scalar_tensor"),
    glu=(_glu, "glu"),
    embedding=(_embedding, "embedding"),
    complex=(_complex, "view_as_complex view_as_real"),
    gather=(_gather, "gather"),
    weight_norm=(_weight_norm, "_weight_norm _weight_norm_interface"),
    view=(movement.view, "view reshape flatten unflatten _unsafe_view view_as reshape_as unsqueeze squeeze"),
    moves=(
        movement.plain,
        "permute transpose t numpy_T mT movedim moveaxis swapaxes swapdims split split_with_sizes chunk tensor_split "
        "unbind select flip repeat tile repeat_interleave transpose_",
    ),
    cut=(movement.cut, "slice narrow"),
    rigid=(movement.rigid, "roll unfold diagonal"),
    expand=(movement.expand, "expand expand_as broadcast_to"),
    cat=(movement.cat, "cat concat concatenate"),
    stack=(movement.stack, "stack"),
    shuffle=(movement.shuffle, "pixel_shuffle"),
    unshuffle=(movement.unshuffle, "pixel_unshuffle"),
    channel_shuffle=(movement.channel_shuffle, "channel_shuffle"),
    pad=(movement.pad, "pad constant_pad_nd"),
    index=(movement.index, "index_select"),
    take=(movement.take, "index"),
    linear=(products.linear, "linear"),
    matmul=(products.matmul, "mm bmm matmul mv dot"),
    tensordot=(products.tensordot, "tensordot"),
    distances=(products.distances, "cdist"),
    outer=(products.outer, "outer ger"),
    addmm=(products.addmm, "addmm baddbmm"),
    einsum=(products.einsum, "einsum"),
    bilinear=(products.bilinear, "bilinear"),
    convolution=(products.convolution, "conv1d conv2d conv3d convolution"),
    transposed=(products.transposed, "conv_transpose1d conv_transpose2d conv_transpose3d"),
    attention=(products.attention, "scaled_dot_product_attention"),
    recurrent=(recurrent.recurrent, "lstm gru rnn_tanh rnn_relu"),
)
