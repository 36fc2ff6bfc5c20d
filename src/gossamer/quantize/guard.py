"""The guard of Quantize: as few layers as possible stay in float so that the metric drops by no more than allowed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gossamer.graph import Graph, note
from gossamer.task import Task, evaluate

from .sensitivity import sensitivities

Make = Callable[[Collection[str]], Graph]


def guarded(graph: Graph, task: Task, max_drop: float, make: Make) -> Graph:
    """``make(weights that stay in float)`` with the fewest of them for which the metric holds.

    Layers are set free in the order of their measured sensitivity; how many is found by bisection, so that the
    metric is measured some log2(layers) times. Says which, and what the metric became.
    """
    before = evaluate(graph, task)

    def drop(network: Graph) -> float:
        after = evaluate(network, task)
        return before - after if task.maximize else after - before

    result = make(())
    lost = drop(result)
    if lost <= max_drop:
        within = f"drops by {lost:.4g}, within {max_drop:g}: nothing stays in float"
        note("Quantize", f"the metric was {before:.4g} and {within}")
        return result
    errors = sensitivities(result, task)
    order = sorted(errors, key=lambda name: -errors[name])
    count, kept, after = _fewest(order, max_drop, make, drop)
    for name in order[:count]:
        reason = f"alone it gives the outputs an error of {errors[name]:.2g} of their square"
        note(name, f"stays in float for max_drop: {reason}")
    share = f"{count} of {len(order)} layers stay in float"
    note(
        "Quantize", f"all in integers, the metric dropped by {lost:.4g}; {share}, and it drops by {after:.4g}"
    )
    return kept


def _fewest(
    order: Sequence[str], max_drop: float, make: Make, drop: Callable[[Graph], float]
) -> tuple[int, Graph, float]:
    """How many of the first weights of ``order`` must stay in float, the network then, and what it loses."""
    too_few, enough = 0, len(order)
    kept, lost = make(order), 0.0
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        attempt = make(order[:middle])
        now = drop(attempt)
        if now <= max_drop:
            enough, kept, lost = middle, attempt, now
        else:
            too_few = middle
    return enough, kept, lost
