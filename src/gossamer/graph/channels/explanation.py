"""The channel groups of a graph as a table to read."""

from __future__ import annotations

from gossamer.graph.channels.groups import ChannelGroup, channel_groups
from gossamer.graph.module import Graph


def explain_channels(graph: Graph) -> str:
    """One line for each channel group: how many units it had and has, its share of the parameters, and the layers
    that make it; for one that cannot be pruned, the operator that forbids it.
    """
    total = max(1, sum(parameter.numel() for parameter in graph.parameters()))
    rows = [("group", "kind", "units", "parameters", "layers that make it, or why it stays")]
    groups = channel_groups(graph)
    rows += [_row(group, graph.units_before, total) for group in groups]
    known = {group.name for group in groups}
    rows += [
        (name, "", f"{units} before", "", "")
        for name, units in graph.units_before.items()
        if name not in known
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _row(group: ChannelGroup, widths: dict[str, int], total: int) -> tuple[str, str, str, str, str]:
    before = widths.get(group.name, group.units)
    units = str(group.units) if before == group.units else f"{before} -> {group.units}"
    why = ", ".join(group.layers) if group.refused is None else f"stays: {group.refused}"
    return group.name, group.kind, units, f"{group.parameters / total:.1%}", why
