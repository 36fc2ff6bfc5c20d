"""LSTM, GRU and plain recurrent networks: the gates of one hidden unit live together.

One tensor holds the first state of all layers and directions, so all of them lose the same units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.fx import Node

from gossamer.graph.channels.flow import Flow, Label
from gossamer.graph.channels.ids import Dim
from gossamer.graph.channels.movement import joined, split
from gossamer.graph.layers import operator_name

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def recurrent(flow: Flow, node: Node, arguments: Mapping[str, Any]) -> list[Label] | None:
    """input (t, n, i) or (n, t, i), states (layers, n, h) -> the outputs (..., h) and the last states."""
    if "data" in arguments:  # packed sequences
        return None
    kind = operator_name(node)
    states = arguments["hx"]
    states = [flow.label(s) for s in (states if isinstance(states, (list, tuple)) else [states])]
    directions = 2 if arguments["bidirectional"] else 1
    params = [flow.label(p) for p in arguments["params"]]
    each = 4 if arguments["has_biases"] else 2
    cells = [params[i : i + each] for i in range(0, len(params), each)]
    if any(len(state) != 3 or cell[1][1].size != state[2].size for cell in cells for state in states[:1]):
        return None  # with a projection of the state
    unit = states[0][2]
    for state in states:
        flow.pin(state[0])
        flow.tie(unit, state[2])
    given = flow.label(arguments["input"])
    below = given[2]
    for layer in range(len(cells) // directions):
        for cell in cells[layer * directions : (layer + 1) * directions]:
            _cell(flow, cell, below, unit, GATES[kind])
        below = joined([unit] * directions)
    return [(given[0], given[1], below), *states]


def _cell(flow: Flow, cell: list[Label], below: Dim, unit: Dim, gates: int) -> None:
    """weight_ih (gates h, i), weight_hh (gates h, h), and their biases."""
    flow.tie(below, cell[0][1])
    flow.tie(unit, cell[1][1])
    for weight in cell:
        gate, units = split(flow, weight[0], (gates, unit.size)) if gates > 1 else (None, weight[0])
        if gate is not None:
            flow.pin(gate)
        flow.tie(unit, units)
