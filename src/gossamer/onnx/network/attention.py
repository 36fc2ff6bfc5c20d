"""Attention and rotary embeddings as operators of their own, of version 23 of the standard and later."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gossamer.artifact.program import Operation

from .values import Function, attribute, tensor, unsupported


def _heads(x: Tensor, count: int) -> Tensor:
    """(batch, length, heads * size) as (batch, heads, length, size)."""
    return x.reshape(*x.shape[:2], count, -1).transpose(1, 2) if x.ndim == 3 else x


def _attention(
    operation: Operation, q: Tensor, k: Tensor, v: Tensor, mask: Any = None,
    past_key: Any = None, past_value: Any = None, *rest: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Y and, where the file wants them, the keys and values with those of the past."""
    if any(value is not None for value in rest) or any(operation.outputs[3:]):
        raise unsupported(
            operation, "lengths of keys given, or the products of queries and keys as an output"
        )
    flat = q.ndim == 3
    q, k, v = (
        _heads(x, int(attribute(operation, f"{name}_num_heads", 1)))
        for x, name in ((q, "q"), (k, "kv"), (v, "kv"))
    )
    past = 0 if past_key is None else past_key.shape[2]
    if past_key is not None:
        k, v = torch.cat([tensor(past_key, k), k], 2), torch.cat([tensor(past_value, v), v], 2)
    keys, values, groups = k, v, q.shape[1] // k.shape[1]
    if groups > 1:
        keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    y = _product(operation, q, keys, values, _mask(operation, q, keys, mask, past))
    return (y.transpose(1, 2).flatten(2) if flat else y), k, v


def _mask(operation: Operation, q: Tensor, k: Tensor, given: Any, past: int) -> Tensor | None:
    """What is added to the scores, or where they count: a query sees what ``is_causal`` and the windows let it."""
    mask = None if given is None else tensor(given, q)
    left = int(attribute(operation, "left_window_size", -1))
    right = 0 if attribute(operation, "is_causal", 0) else int(attribute(operation, "right_window_size", -1))
    if left < 0 and right < 0:
        return mask
    seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
    seen = seen.tril(past + right) if right >= 0 else seen
    seen = seen.triu(past - left) if left >= 0 else seen
    if mask is None:
        return seen
    return mask & seen if mask.dtype == torch.bool else mask.masked_fill(~seen, -math.inf)


def _product(operation: Operation, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    scale, cap = attribute(operation, "scale", None), attribute(operation, "softcap", 0.0)
    if not cap:
        return F.scaled_dot_product_attention(q, k, v, mask, scale=scale)
    scale = 1 / math.sqrt(int(q.shape[-1])) if scale is None else scale
    scores = cap * torch.tanh(q @ k.transpose(-1, -2) * scale / cap)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, -1) @ v


def _rotary(operation: Operation, x: Tensor, cos: Any, sin: Any, places: Any = None) -> Tensor:
    flat = x.ndim == 3
    heads = _heads(x, int(attribute(operation, "num_heads", 1)))
    cos, sin = (tensor(table, x) for table in (cos, sin))
    if places is not None:
        cos, sin = (F.embedding(tensor(places, x).long(), table) for table in (cos, sin))
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    size = 2 * int(cos.shape[-1])
    turned, rest = heads[..., :size], heads[..., size:]
    if attribute(operation, "interleaved", 0):
        a, b = turned[..., ::2], turned[..., 1::2]
        turned = torch.stack([cos * a - sin * b, sin * a + cos * b], -1).flatten(-2)
    else:
        a, b = turned.chunk(2, -1)
        turned = torch.cat([cos * a - sin * b, sin * a + cos * b], -1)
    y = torch.cat([turned, rest], -1) if int(rest.shape[-1]) else turned
    return y.transpose(1, 2).flatten(2) if flat else y


ATTENTION: dict[str, Function] = {"Attention": _attention, "RotaryEmbedding": _rotary}
