"""Calibration: the network runs on inputs of its task while observers see the values that will be quantized."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from gossamer._nested import to_device
from gossamer.errors import InputError
from gossamer.graph import Graph, module_of, original
from gossamer.graph.modes import arguments
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
        run = Run(graph, weights, skipped)
        for inputs in calibration_inputs(task):
            if count == batches or last is None:
                break
            values = arguments_of(graph, to_device(inputs, device))
            with naming_indices(graph, values):
                for node, value in run.values(iter(values)):
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


@contextmanager
def naming_indices(graph: Graph, values: Sequence[Tensor]) -> Iterator[None]:
    """While ``graph`` runs on ``values``: an index outside of its table is an InputError that names the input."""
    try:
        yield
    except IndexError as error:
        found = (
            _outside(graph, values) or f"an index that the network computes is outside of its table: {error}"
        )
        raise InputError(f"calibration: {found}") from error


def _outside(graph: Graph, values: Sequence[Tensor]) -> str:
    """The first input that holds indices beyond the rows of the embedding that it goes to."""
    placeholders = graph.graph.find_nodes(op="placeholder")
    given = dict(zip(placeholders, zip(graph.signature, values, strict=True), strict=True))
    for node in graph.graph.find_nodes(op="call_function", target=torch.ops.aten.embedding.default):
        source, table = (arguments(node)[name] for name in ("indices", "weight"))
        while source.op == "call_function" and len(source.all_input_nodes) == 1:
            source = source.all_input_nodes[0]
        if source not in given or table.op != "get_attr":
            continue
        item, ids = given[source]
        rows = len(original(graph, str(table.target)))
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= rows):
            return (
                f"input {item.name!r} holds {int(ids.min())} to {int(ids.max())}; the embedding {table.target} "
                f"that reads it has {rows} rows, 0 to {rows - 1}"
            )
    return ""


def arguments_of(graph: Graph, inputs: Any) -> list[Tensor]:
    """Inputs as a loader gives them, in the order of the graph's signature.

    Integers of another width are converted. Raises InputError, by name, for inputs that the graph was not traced for.
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
        if value.is_floating_point() and bool(value.isnan().any()):
            raise InputError(f"calibration input {item.name!r} has elements that are not a number (NaN)")
    found = [item.converted(value) for item, value in zip(graph.signature, found, strict=True)]
    rows = {len(value) for item, value in zip(graph.signature, found, strict=True) if item.batched}
    if rows == {0}:
        raise InputError(
            "a batch to calibrate on has 0 rows: give at least one example, or leave the batch out"
        )
    if len(rows) > 1:
        raise InputError(
            f"the inputs of one batch to calibrate on have {sorted(rows)} rows; give as many of each"
        )
    return found
