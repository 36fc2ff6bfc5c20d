"""LSTM, GRU and RNN of ONNX files as those of torch, which pass over gates in another order.

ONNX has all directions of a weight in one tensor, (directions, gates * hidden, inputs), the gates of an LSTM in the
order i, o, f, c and those of a GRU z, r, h, and both biases in one vector; torch has a matrix for each direction, the
gates i, f, g, o and r, z, n. So weights are put in torch's order once, before there is a graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gossamer.artifact.program import Operation, Program
from gossamer.errors import UnsupportedError
from gossamer.weights import Dense, Weight, decode

from .values import Function, tensor

_Array = npt.NDArray[np.generic]
_SEQUENCE_LENGTHS, _INITIAL_H, _INITIAL_C, _PEEPHOLES = 4, 5, 6, 7  # places of the optional inputs


@dataclass(frozen=True)
class _Cell:
    """A kind of recurrence: torch's gates as places among ONNX's, activations of one direction."""

    gates: tuple[int, ...]
    activations: tuple[tuple[str, ...], ...]  # the ones that torch has; the standard's default first
    states: int = 1


_CELLS = {
    "LSTM": _Cell((0, 2, 3, 1), (("sigmoid", "tanh", "tanh"),), 2),
    "GRU": _Cell((1, 0, 2), (("sigmoid", "tanh"),)),
    "RNN": _Cell((0,), (("tanh",), ("relu",))),
}


def with_torch_weights(program: Program) -> Program:
    """``program`` with the weights of its recurrences in torch's layout, each a weight of its own.

    Inputs of such an operation then are: x, its states at the beginning (names may be empty), and for each direction
    weight_ih, weight_hh and, where it has them, bias_ih, bias_hh. Raises UnsupportedError for what torch does not have.
    """
    weights, operations, names = dict(program.weights), [], set(program.weights)
    for operation in program.operations:
        if operation.domain or operation.op not in _CELLS:
            operations.append(operation)
            continue
        _require_torch_form(operation)
        home = _free(_home(operation), names)
        made = {f"{home}.{name}": Dense(array) for name, array in _matrices(operation, program.weights)}
        weights.update(made)
        states = _states(operation, program.weights)
        operations.append(replace(operation, inputs=(operation.inputs[0], *states, *made)))
    read = {name for operation in operations for name in operation.inputs}
    read.update(port.name for port in program.outputs)
    kept = {name: weight for name, weight in weights.items() if name in read}
    return replace(program, weights=kept, operations=tuple(operations))


def _recurrent(operation: Operation, x: Tensor, *given: Any) -> tuple[Tensor, ...]:
    """Y (length, directions, batch, hidden), Y_h and for an LSTM Y_c (directions, batch, hidden)."""
    count = _CELLS[operation.op].states
    states, params = given[:count], list(given[count:])
    direction = operation.attributes.get("direction", "forward")
    both = direction == "bidirectional"
    x = x.flip(0) if direction == "reverse" else x
    size = (1 + both, x.shape[1], params[1].shape[1])
    before = [x.new_zeros(size) if state is None else tensor(state, x).expand(size) for state in states]
    settings = (len(params) > 2 + 2 * both, 1, 0.0, False, both, False)
    if operation.op == "LSTM":
        y, *after = torch.lstm(x, before, params, *settings)
    elif operation.op == "GRU":
        y, *after = torch.gru(x, before[0], params, *settings)
    else:
        function = torch.rnn_relu if "relu" in _activations(operation) else torch.rnn_tanh
        y, *after = function(x, before[0], params, *settings)
    y = y.flip(0) if direction == "reverse" else y
    return y.reshape(y.shape[0], y.shape[1], 1 + both, -1).transpose(1, 2), *after


def _input(operation: Operation, place: int) -> str:
    return operation.inputs[place] if place < len(operation.inputs) else ""


def _directions(operation: Operation) -> int:
    return 2 if operation.attributes.get("direction") == "bidirectional" else 1


def _activations(operation: Operation) -> tuple[str, ...]:
    given = operation.attributes.get("activations") or ()
    return tuple(str(name).lower() for name in given)  # type: ignore[union-attr]


def _require_torch_form(operation: Operation) -> None:
    """Raise UnsupportedError, naming the operation, for what the standard has and torch has not."""
    cell, attributes = _CELLS[operation.op], operation.attributes
    given = _activations(operation)
    usual = [names * _directions(operation) for names in cell.activations]
    reasons = {
        f"activations {', '.join(given)}": given and given not in usual,
        "sequence_lens, lengths of their own for each sequence": _input(operation, _SEQUENCE_LENGTHS),
        "peepholes": operation.op == "LSTM" and _input(operation, _PEEPHOLES),
        "layout 1": attributes.get("layout", 0),
        "a clip of its gates": attributes.get("clip"),
        "input_forget": attributes.get("input_forget", 0),
        "linear_before_reset 0": operation.op == "GRU" and not attributes.get("linear_before_reset", 0),
    }
    for reason in (reason for reason, holds in reasons.items() if holds):
        raise UnsupportedError(
            f"passes cannot work on the {operation.op} {operation.name or operation.outputs[0]!r} of this file: torch "
            f"has none with {reason}; give the PyTorch model"
        )


def _matrices(operation: Operation, weights: Mapping[str, Weight]) -> Iterator[tuple[str, _Array]]:
    """Name and values of torch's parameters, in its order."""
    for name in filter(None, operation.inputs[1:4]):
        if name not in weights:
            raise UnsupportedError(
                f"passes cannot work on the {operation.op} {operation.name or operation.outputs[0]!r} of this file: "
                f"{name!r} is computed while running, no weight"
            )
    w, r, *bias = (decode(weights[name]) for name in filter(None, operation.inputs[1:4]))
    gates = _CELLS[operation.op].gates
    for direction in range(_directions(operation)):
        suffix = "_reverse" if direction else ""
        yield f"weight_ih_l0{suffix}", _ordered(w[direction], gates)
        yield f"weight_hh_l0{suffix}", _ordered(r[direction], gates)
        for both in bias:
            ih, hh = np.split(both[direction], 2)
            yield f"bias_ih_l0{suffix}", _ordered(ih, gates)
            yield f"bias_hh_l0{suffix}", _ordered(hh, gates)


def _ordered(rows: _Array, gates: tuple[int, ...]) -> _Array:
    parts = np.split(rows, len(gates))
    return np.concatenate([parts[gate] for gate in gates])


def _states(operation: Operation, weights: Mapping[str, Weight]) -> Iterator[str]:
    """Names of the states at the beginning; empty for zeros, of which there are as many as the batch has rows."""
    for place in (_INITIAL_H, _INITIAL_C)[: _CELLS[operation.op].states]:
        name = _input(operation, place)
        yield "" if name in weights and not decode(weights[name]).any() else name


def _home(operation: Operation) -> str:
    """The module whose parameters they are: "rnn.lstm" of PyTorch's "/rnn/lstm/LSTM"."""
    *path, last = [part for part in re.split(r"[/.]", operation.name) if part] or [operation.op.lower()]
    number = re.fullmatch(rf"{operation.op}(_\d+)?", last)
    if number and path:
        return ".".join(path) + (number[1] or "")
    return ".".join([*path, last.lower() if number else last])


def _free(home: str, names: set[str]) -> str:
    """``home``, or with a number where it is taken."""
    found, count = home, 1
    while found in names:
        found, count = f"{home}_{count}", count + 1
    names.add(found)
    return found


RECURRENT: dict[str, Function] = dict.fromkeys(_CELLS, _recurrent)
