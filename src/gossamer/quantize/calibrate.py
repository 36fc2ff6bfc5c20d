"""Calibration: the network runs on inputs of its task while observers see the values that will be quantized."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from gossamer._nested import to_device
from gossamer.errors import InputError
from gossamer.graph import Graph, module_of
from gossamer.task import Task, calibration_inputs, device_of, modes_restored

from .run import Run

See = Callable[[Tensor], None]


@torch.no_grad()
def watch(
    graph: Graph,
    task: Task,
    batches: int | None,
    seeing: Iterable[tuple[Node, See]],
    weights: Mapping[str, Tensor] | None = None,
    skipped: Collection[Node] = (),
) -> int:
    """Run ``graph`` in eval mode on calibration inputs and show the nodes' values; how many batches there were.

    ``batches``: at most so many; None for all. A value is shown and then forgotten, and nothing is computed that no
    shown value needs. ``weights``, ``skipped``: as :class:`Run` has them.
    """
    device, count = device_of(graph), 0
    shown: dict[Node, list[See]] = defaultdict(list)
    for node, see in seeing:
        shown[node].append(see)
    last = next((node for node in reversed(graph.graph.nodes) if node in shown), None)
    with modes_restored(graph):
        graph.eval()
        for inputs in calibration_inputs(task):
            if count == batches or last is None:
                break
            run = Run(graph, weights, skipped)
            values = iter(arguments_of(graph, to_device(inputs, device)))
            for node, value in run.values(values):
                for see in shown.get(node, ()):
                    _shown(node, value, see)
                if node is last:
                    break
            count += 1
    return count


def _shown(node: Node, value: Tensor, see: See) -> None:
    try:
        see(value)
    except InputError as error:
        what = "input" if node.op == "placeholder" else f"value of {module_of(node) or 'the network'},"
        raise InputError(f"calibration: {what} {node.name!r} {error}") from error


def arguments_of(graph: Graph, inputs: Any) -> list[Tensor]:
    """Inputs as a loader gives them, in the order of the graph's signature.

    Raises InputError, by name, for inputs that the graph was not traced for.
    """
    if isinstance(inputs, Mapping):
        inputs = [inputs.get(item.name) for item in graph.signature]
    found: list[Tensor] = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if len(found) != len(graph.signature):
        names = ", ".join(item.name for item in graph.signature)
        raise InputError(f"a batch to calibrate on has {len(found)} inputs; the network takes {names}")
    for item, value in zip(graph.signature, found, strict=True):
        if not item.accepts(value):
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                f"calibration input {item.name!r} is {got}; the graph was traced for {item.sized(-1)} (-1: any batch)"
            )
        if value.dtype != item.dtype and (value.is_floating_point() or item.dtype.is_floating_point):
            raise InputError(
                f"calibration input {item.name!r} holds {str(value.dtype).removeprefix('torch.')}; the graph was "
                f"traced for {str(item.dtype).removeprefix('torch.')}: convert it"
            )
        if value.is_floating_point() and bool(value.isnan().any()):
            raise InputError(f"calibration input {item.name!r} has elements that are not a number (NaN)")
    rows = {len(value) for item, value in zip(graph.signature, found, strict=True) if item.batched}
    if len(rows) > 1:
        raise InputError(
            f"the inputs of one batch to calibrate on have {sorted(rows)} rows; give as many of each"
        )
    return found
