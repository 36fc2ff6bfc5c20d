"""lower ("freeze"): from a trained graph to the Program that ships, through PyTorch's official ONNX exporter.

The exporter sees the network in eval mode with every weight as the plain values that its transforms make;
afterwards each of those initializers is replaced by its representation, which decodes to exactly that.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from onnx import ModelProto
from torch import nn
from torch.nn.utils import parametrize
from torch.utils import _pytree as pytree

from gossamer.artifact.program import Port, Program
from gossamer.errors import GraphError, UnsupportedError
from gossamer.graph import Graph, note, represent, source_line, transformed_weights
from gossamer.quantize import is_quantizers, without_batch_norms
from gossamer.weights import Dense, Quantized, Weight, decode, equal

from . import integer_only, naming, quantizing, values
from .assembling import assembled
from .exporter_shortcuts import shortcuts
from .importing import load
from .simplifying import simplify

_FEW_BITS, _LOW_BITS_SINCE = 4, 21
_ROWS = 2  # of the example batch: torch.export takes 0 and 1 for constants


def lower(graph: Graph) -> Program:
    """The Program of ``graph`` in eval mode: simplified, batch size free, weights in their representation.

    Inputs have the names of the user's forward; outputs the keys of a returned dict, else "output" or
    "output_0" and so on; weights the user's names; an operation that reads a layer's weights has the layer's
    name. The same graph gives the same Program. Raises UnsupportedError for an operator that ONNX does not
    have, with the user's line (of an integer-only graph also for what has no form in integers), and GraphError where a
    transformed weight would be lost on the way.
    """
    folded = without_batch_norms(graph)
    own = copy.deepcopy(graph) if folded is graph else folded
    weights = {own.tied.get(name, name): represent(own, name) for name in transformed_weights(own)}
    plain = _plain(own, weights)
    _refuse_projections(plain)
    with _quiet(), shortcuts():
        program, known = _loaded(_exported(plain))
    program = _with_representations(_with_first_names(program, graph.tied), weights, plain)
    program = _with_low_bits(simplify(program, known))
    _check_all_there(program, weights, plain)
    owned = {
        name for name, _ in (*plain.named_parameters(), *plain.named_buffers()) if not is_quantizers(name)
    }
    tidied = naming.tidy(program, graph.signature, _output_names(plain), owned)
    return integer_only.convert(tidied) if graph.integer_only else tidied


def _plain(own: Graph, weights: Mapping[str, Weight]) -> Graph:
    """``own``, changed: on the CPU, in eval mode, its weights plain parameters with the transformed values."""
    plain = own.cpu().eval()
    names = list(transformed_weights(plain))
    # torch's own remove_parametrizations edits the class of the module, which it shares with the original's.
    for owner in {id(owner): owner for owner in (_owner(plain, name) for name in names)}.values():
        del owner._modules["parametrizations"]
        owner.__class__ = parametrize.type_before_parametrizations(owner)
    for name in names:
        shipped = decode(weights[plain.tied.get(name, name)])
        own_values = torch.from_numpy(shipped if shipped.flags.writeable else shipped.copy())
        _owner(plain, name).register_parameter(name.rpartition(".")[2], nn.Parameter(own_values))
    _lay_out_attention(plain)
    return plain


def _lay_out_attention(plain: Graph) -> None:
    """Results of fused attention in the usual layout. Kernels give it transposed or not; a reshape that the exporter
    turned into a view while it was the one would fail when it is the other.
    """
    fused = torch.ops.aten.scaled_dot_product_attention.default
    for node in plain.graph.find_nodes(op="call_function", target=fused):
        with plain.graph.inserting_after(node):
            usual = plain.graph.call_function(torch.ops.aten.contiguous.default, (node,))
        usual.meta = dict(node.meta)
        node.replace_all_uses_with(usual, delete_user_cb=lambda user, usual=usual: user is not usual)
    plain.recompile()


def _refuse_projections(plain: Graph) -> None:
    """Raise UnsupportedError for an LSTM with a projected state: ONNX has none, and the exporter writes a wrong one."""
    for node in plain.graph.find_nodes(op="call_function", target=torch.ops.aten.lstm.input):
        _, _, weights, has_biases, layer_count, _, _, bidirectional, *_ = node.args
        if len(weights) > layer_count * (2 if bidirectional else 1) * (4 if has_biases else 2):
            raise UnsupportedError(
                f"an LSTM with proj_size has no form in ONNX, called at\n  {source_line(node)}\n"
                "put an nn.Linear behind an LSTM without proj_size"
            )


def _owner(graph: Graph, weight: str) -> nn.Module:
    return graph.get_submodule(weight.rpartition(".")[0])


def _exported(plain: Graph) -> ModelProto:
    try:
        exported = torch.onnx.export(
            assembled(plain, _ROWS) or _traced_again(plain),
            dynamo=True,
            optimize=False,
            verbose=False,
            custom_translation_table=quantizing.TRANSLATIONS,
        )
    except Exception as error:  # the exporter raises whatever its many parts raise
        raise _refusal(error, plain) from error
    if exported is None:
        raise UnsupportedError("the ONNX exporter gave no model back")
    return exported.model_proto


def _traced_again(plain: Graph) -> torch.export.ExportedProgram:
    example = [torch.zeros(item.sized(_ROWS), dtype=item.dtype) for item in plain.signature]
    shapes = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]
    for tensor, item in zip(example, plain.signature, strict=True):
        if item.batched:
            shapes[tensor] = {0: torch.export.Dim(naming.BATCH)}
    positional = plain.graph._codegen.pytree_info.in_spec.child(0).num_children  # type: ignore[attr-defined]
    by_name = {item.name: tensor for item, tensor in zip(plain.signature, example, strict=True)}
    args, kwargs = tuple(example[:positional]), dict(list(by_name.items())[positional:])
    return torch.export.export(
        plain,
        args,
        kwargs,
        dynamic_shapes=shapes,  # type: ignore[arg-type]
        strict=False,
    )


def _refusal(error: Exception, plain: Graph) -> UnsupportedError:
    """The operator that could not be exported, and the user's line that called it."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and isinstance(cause, Exception):
        causes.append(cause)
    text = "\n".join(map(str, causes))
    found = re.search(r"OpOverload\(op='(\w+)\.(\w+)'", text) or re.search(r"torch\.ops\.(\w+)\.(\w+)", text)
    if found is None:
        return UnsupportedError(f"the graph cannot be lowered to ONNX: {str(causes[-1]).splitlines()[0]}")
    space, operator = found.groups()
    lines = [source_line(node) for node in plain.graph.nodes if operator in str(node.target)]
    where = next((f", called at\n  {line}" for line in lines if line), "")
    return UnsupportedError(
        f"operator {space}.{operator} has no form in ONNX{where}\nwrite it with other operators of torch"
    )


def _loaded(model: ModelProto) -> tuple[Program, dict[str, Port]]:
    """The Program of what the exporter gave, and what it says of tensors in between."""
    return load(_bare(model)), values.ports(model.graph.value_info)


def _bare(model: ModelProto) -> ModelProto:
    """``model``, changed: without what the exporter says about itself, which would cost bytes and change no result."""
    for field in ("metadata_props", "producer_name", "producer_version"):
        model.ClearField(field)
    graph = model.graph
    graph.name = "gossamer"
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    return model


def _with_first_names(program: Program, tied: Mapping[str, str]) -> Program:
    """Shared weights under the name that the graph's nodes use; the exporter takes any of their names."""
    names = {name: tied[name] for name in program.weights if name in tied}
    weights = {names.get(name, name): weight for name, weight in program.weights.items()}
    operations = [
        replace(operation, inputs=tuple(names.get(name, name) for name in operation.inputs))
        for operation in program.operations
    ]
    return replace(program, weights=weights, operations=tuple(operations))


def _with_representations(program: Program, weights: Mapping[str, Weight], plain: Graph) -> Program:
    """Initializers that the exporter took from the transformed weights in ``plain``, in their representation again."""
    found = {}
    for name, weight in weights.items():
        if name not in program.weights:
            continue  # a weight that the exporter dropped is told apart from a lost one at the end
        if not equal(program.weights[name], Dense(plain.get_parameter(name).detach().numpy())):
            raise GraphError(f"weight {name!r} came out of the ONNX exporter with other values than went in")
        found[name] = weight
    return replace(program, weights={**program.weights, **found})


def _with_low_bits(program: Program) -> Program:
    """In the first operator set with integers of four bits and scales for blocks, where a weight has either.

    Of what the exporter writes, only GroupNormalization is another operator there.
    """
    quantized = [weight for weight in program.weights.values() if isinstance(weight, Quantized)]
    wanted = any(weight.bits == _FEW_BITS or weight.block is not None for weight in quantized)
    normalizes = any(operation.op == "GroupNormalization" for operation in program.operations)
    if not wanted or normalizes or program.opsets.get("", 0) >= _LOW_BITS_SINCE:
        return program
    return replace(program, opsets={**program.opsets, "": _LOW_BITS_SINCE})


def _check_all_there(program: Program, weights: Mapping[str, Weight], plain: Graph) -> None:
    used = _read_for_outputs(plain)
    for name in weights.keys() - program.weights.keys():
        if name in used:
            raise GraphError(f"weight {name!r} got lost on the way to ONNX; please report the model")
        note(name, "left out of the Program: nothing reads this weight in eval mode")


def _read_for_outputs(plain: Graph) -> set[str]:
    """The weights that some output depends on; a graph may compute more, such as a pooler that nobody reads."""
    alive = {plain.graph.output_node()}
    for node in reversed(plain.graph.nodes):
        if node in alive:
            alive.update(node.all_input_nodes)
    return {str(node.target) for node in alive if node.op == "get_attr"}


def _output_names(plain: Graph) -> list[str]:
    """Names of the tensors that the graph returns: keys of a dict, else "output", "output_0", "output_1"."""
    leaves = pytree.tree_leaves(plain.graph.output_node().args[0])
    spec = plain.graph._codegen.pytree_info.out_spec  # type: ignore[attr-defined]
    paths, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(list(range(len(leaves))), spec))
    names = []
    for (path, _), leaf in zip(paths, leaves, strict=True):
        parts = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path]
        if not parts or parts[0].isdigit():
            parts.insert(0, "output")
        if leaf is not None:
            names.append("_".join(parts))
    return names


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints and warns about itself; what matters comes as an exception."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(before)
