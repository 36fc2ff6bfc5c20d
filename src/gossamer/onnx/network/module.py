"""The module of a Program's operations, and its graph.

It has the operators of networks that are trained: what passes change (convolutions, products, embeddings) and what
stands between. Shape arithmetic that ``simplify`` leaves is done while tracing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gossamer.artifact.program import Program
from gossamer.engine import Engine
from gossamer.errors import GraphError, UnsupportedError
from gossamer.graph import Graph, Input, trace
from gossamer.weights import Dense, decode

from ..simplifying import simplify
from .batch import fixed_batch, with_free_batch
from .operators import OPERATORS
from .recurrent import with_torch_weights
from .values import MOST_SETTINGS, ComputedError, unsupported
from .versions import of_today

# What trains: weights of two dimensions or more, and the vectors that these operators take at these places.
_MATRICES = 2
_VECTORS = {
    "Conv": (2,),
    "ConvTranspose": (2,),
    "Gemm": (2,),
    "LayerNormalization": (1, 2),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), range(1, 11)),  # as with_torch_weights has them
}


class Network(nn.Module):
    """The Program's operations as functions of torch, its weights as parameters and buffers of their names.

    Called with tensors in the order of the Program's inputs; returns a dict by the names of its outputs. A batch size
    that the file fixes may be any. Raises UnsupportedError, by name, for operators that have no form here.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        program = simplify(of_today(with_free_batch(program)))
        unknown = sorted({o.op for o in program.operations if o.domain or o.op not in OPERATORS})
        if any(operation.op == "QuantizeLinear" for operation in program.operations):
            raise UnsupportedError("this file is quantized already; start from the float file")
        if unknown:
            raise UnsupportedError(
                f"passes cannot work on the operators {', '.join(unknown)} of an ONNX file; give the PyTorch model"
            )
        self.program = program = with_torch_weights(_with_own_statistics(program))
        self.read = {name for o in program.operations for name in o.inputs} | {
            p.name for p in program.outputs
        }
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.places: dict[str, tuple[nn.Module, str]] = {}
        self._homes: dict[
            tuple[nn.Module, str], nn.Module
        ] = {}  # modules, by their owner and name in the file
        vectors = {
            o.inputs[i] for o in program.operations for i in _VECTORS.get(o.op, ()) if i < len(o.inputs)
        }
        statistics = {
            name for o in program.operations if o.op == "BatchNormalization" for name in o.inputs[3:]
        }
        for name, weight in program.weights.items():
            values = np.array(decode(weight))
            trains = values.dtype.kind == "f" and (values.ndim >= _MATRICES or name in vectors)
            is_setting = isinstance(weight, Dense) and values.size <= MOST_SETTINGS
            if is_setting and not trains and name not in statistics:
                self.constants[name] = values
            else:
                self._hold(name, torch.from_numpy(values), trains)

    def _hold(self, name: str, tensor: Tensor, trains: bool) -> None:
        owner: nn.Module = self
        *path, last = [re.sub(r"\W", "_", part) for part in name.strip("./").split(".")]
        for part in path:
            home = owner, part
            if home not in self._homes:
                self._homes[home] = nn.Module()
                owner.add_module(part if part.isdigit() else _free(owner, part), self._homes[home])
            owner = self._homes[home]
        last = _free(owner, last)
        if trains:
            owner.register_parameter(last, nn.Parameter(tensor))
        else:
            owner.register_buffer(last, tensor)
        self.places[name] = owner, last

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """See the class."""
        values: dict[str, Any] = {name: getattr(owner, last) for name, (owner, last) in self.places.items()}
        values.update(self.constants)
        values.update({port.name: x for port, x in zip(self.program.inputs, inputs, strict=True)})
        for operation in self.program.operations:
            given = [values[name] if name else None for name in operation.inputs]
            try:
                results = OPERATORS[operation.op](operation, *given)
            except ComputedError as error:
                raise unsupported(operation, f"{error} are computed while the network runs") from None
            several = results if isinstance(results, tuple) else (results,)
            for name in filter(None, operation.outputs[len(several) :]):
                if name in self.read:
                    raise unsupported(operation, f"its output {name!r} has no form in torch")
            values.update({name: r for name, r in zip(operation.outputs, several, strict=False) if name})
        return {port.name: values[port.name] for port in self.program.outputs}


def to_graph(program: Program, inputs: Sequence[Tensor]) -> Graph:
    """The graph of ``program``, which passes take; ``inputs``: an example batch, in the order of its inputs.

    Integers of another width than the file's are converted. Raises UnsupportedError for operators that have no form in
    torch here, TraceError where the batch size is built into the file, InputError for inputs of another type, and
    GraphError where the graph computes other outputs than the Engine does of the file.
    """
    inputs = [
        Input(port.name, tuple(x.shape), getattr(torch, port.dtype)).converted(x)
        for port, x in zip(program.inputs, inputs, strict=True)
    ]
    graph = trace(Network(program).eval(), tuple(inputs))
    signature = zip(graph.signature, program.inputs, strict=True)
    graph.signature = tuple(replace(item, name=port.name) for item, port in signature)
    _require_same_outputs(graph, program, inputs)
    if fixed_batch(program):
        _require_apart(graph, program, inputs)
    return graph


def _require_same_outputs(graph: Graph, program: Program, inputs: Sequence[Tensor]) -> None:
    """Raise GraphError where ``graph`` computes other outputs than the Engine, of as many examples as it takes."""
    rows = [_cycled(x, fixed_batch(program) or 1) for x in inputs]
    with torch.no_grad():
        ours = graph(*rows)
    for name, wanted in _outputs(Engine(program), program, rows).items():
        if not _is_close(ours[name].numpy(), wanted):
            raise GraphError(
                f"output {name!r} of the file comes out differently in torch; please report the file"
            )


def _require_apart(graph: Graph, program: Program, inputs: Sequence[Tensor]) -> None:
    """Raise GraphError where of twice as many examples as the file fixes not each half comes out as by itself."""
    count, engine = fixed_batch(program) or 1, Engine(program)
    rows = [_cycled(x, 2 * count) for x in inputs]
    halves = [_outputs(engine, program, part) for part in zip(*(x.chunk(2) for x in rows), strict=True)]
    with torch.no_grad():
        whole = graph(*rows)
    for name, found in whole.items():
        by_example = found.ndim and len(found) == 2 * count
        if by_example and not _is_close(found.numpy(), np.concatenate([half[name] for half in halves])):
            raise GraphError(
                f"output {name!r} of the file mixes the examples of a batch, whose size the file fixes at {count}: "
                "export the model with a batch dimension that is dynamic"
            )


def _outputs(engine: Engine, program: Program, inputs: Sequence[Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    found = engine(**{port.name: x.numpy() for port, x in zip(program.inputs, inputs, strict=True)})
    return found if isinstance(found, dict) else {program.outputs[0].name: found}


def _is_close(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> bool:
    near = 1e-3 * np.abs(wanted).max(initial=0)
    return found.shape == wanted.shape and np.allclose(found, wanted, rtol=1e-2, atol=near)


def _with_own_statistics(program: Program) -> Program:
    """``program`` with mean and variance of each norm as weights of their own: zeros may be shared with what trains."""
    weights, operations = dict(program.weights), []
    read = Counter(name for operation in program.operations for name in operation.inputs)
    for operation in program.operations:
        inputs = list(operation.inputs)
        if operation.op == "BatchNormalization":
            for place, what in ((3, "running_mean"), (4, "running_var")):
                if read[inputs[place]] > 1 and inputs[place] in weights:
                    name = f"{operation.outputs[0]}.{what}"
                    weights[name] = weights[inputs[place]]
                    inputs[place] = name
        operations.append(replace(operation, inputs=tuple(inputs)))
    return replace(program, weights=weights, operations=tuple(operations))


def _cycled(x: Tensor, count: int) -> Tensor:
    """The first ``count`` rows, from the beginning again where there are fewer."""
    return x[torch.arange(count) % len(x)]


def _free(owner: nn.Module, name: str) -> str:
    """``name``, or with underscores where the module has something of that name."""
    name = name if name and not name[0].isdigit() else f"_{name}"
    name = re.sub(
        r"^val_", "value_", name
    )  # PyTorch's exporter calls what it adds "val_0", "val_1" without looking
    while hasattr(owner, name) or name in ("signature", "tied", "graph", "code"):
        name += "_"
    return name
