"""One rule a function: how one operation becomes less, with the same result for every input.

A rule gets the operation and what is known, and returns None (it does not apply), a name (the output is that
value), weights (the outputs are these), or another operation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, TensorProto, defs

from gossamer.artifact.program import Attribute, Operation
from gossamer.weights import Dense, Weight, decode, shape, transpose

from . import folding, tensors
from .values import Known, Sizes

Result: TypeAlias = "str | list[Weight] | Operation | None"
_MAX_REPEATED = 64  # elements of a weight that may be there twice, in two forms
_MAX_FOLDED_BYTES = 1 << 16  # a constant that large may be written down though nothing else becomes smaller


@dataclass
class State:
    """The program while it is walked.

    ``weights`` grow by what is folded, ``computed`` names those; ``uses`` counts the readers of each value;
    ``outputs`` are the program's: they are written by an operation.
    """

    opsets: Mapping[str, int]
    weights: dict[str, Weight]
    known: Known
    uses: Counter[str]
    computed: set[str]
    outputs: frozenset[str]

    def dense(self, name: str) -> Dense | None:
        """The weight called ``name`` where it is plain values."""
        weight = self.weights.get(name)
        return weight if isinstance(weight, Dense) else None


def forward_input(operation: Operation, state: State) -> Result:
    """Identity; Dropout outside of training; Cast, Pad, Reshape, Expand or Slice to what it is already."""
    return operation.inputs[0] if not operation.domain and _changes_nothing(operation, state) else None


def _changes_nothing(operation: Operation, state: State) -> bool:
    match operation.op:
        case "Identity":
            return True
        case "Dropout":
            return _is_inference(operation, state)
        case "Cast":
            return _cast_target(operation) == state.known.dtype(operation.inputs[0])
        case "Concat":
            return len(operation.inputs) == 1
        case "Pad":
            pads = state.known.sizes(operation.inputs[1]) if len(operation.inputs) > 1 else None
            return pads is not None and not pads.any()
        case "Reshape" | "Expand":
            return _same_shape(operation, state.known)
        case "Slice":
            return _same_shape(operation, state.known) and _goes_forward(operation, state)
        case _:
            return False


def _is_inference(operation: Operation, state: State) -> bool:
    mask_is_read = any(state.uses[name] for name in filter(None, operation.outputs[1:]))
    if mask_is_read or state.opsets.get("", 0) < 7:
        return False
    mode = operation.inputs[2] if len(operation.inputs) > 2 else ""
    flag = state.dense(mode)
    return not mode or (flag is not None and not flag.values.any())


def _cast_target(operation: Operation) -> str | None:
    target = operation.attributes.get("to")
    known = isinstance(target, int) and target != TensorProto.STRING
    return tensors.dtype_name(target, "Cast") if known else None  # type: ignore[arg-type]


def _same_shape(operation: Operation, known: Known) -> bool:
    before = known.full_shape(operation.inputs[0])
    return before is not None and before == known.full_shape(operation.outputs[0])


def _goes_forward(operation: Operation, state: State) -> bool:
    if len(operation.inputs) < 5:
        return True
    steps = state.known.sizes(operation.inputs[4])
    return steps is not None and _is_numbers(steps) and min(steps) > 0


def cast_like(operation: Operation, state: State) -> Result:
    """CastLike of a known type is Cast."""
    target = state.known.dtype(operation.inputs[1]) if operation.op == "CastLike" else None
    if target is None:
        return None
    attributes: dict[str, Attribute] = {"to": tensors.element_type(target, operation.name)}
    return replace(operation, op="Cast", inputs=operation.inputs[:1], attributes=attributes)


def learn_sizes(operation: Operation, state: State) -> Result:
    """Shape arithmetic whose result is known in full is a weight."""
    found = state.known.learn(operation)
    if found is None or not _is_numbers(found):
        return None
    return [Dense(found.astype(np.int64))]


def _is_numbers(sizes: Sizes) -> bool:
    return all(not isinstance(size, str) for size in sizes.reshape(-1))


def fold_constants(operation: Operation, state: State) -> Result:
    """An operation on plain weights alone is done once, unless the file would grow by it."""
    names = [name for name in operation.inputs if name]
    if not folding.is_foldable(operation) or any(state.dense(name) is None for name in names):
        return None
    limit = _allowed_bytes({name: decode(state.weights[name]) for name in names}, state)
    if any(_elements(state.known, name) > limit for name in operation.outputs if name):
        return None
    results = folding.fold(operation, state.weights, state.opsets)
    if results is None or sum(result.values.nbytes for result in results) > limit:
        return None
    return list(results)


def _allowed_bytes(arrays: Mapping[str, npt.NDArray[np.generic]], state: State) -> int:
    """How large a result may be: as what it replaces, or small, unless it repeats a weight that stays."""
    freed = sum(array.nbytes for name, array in arrays.items() if state.uses[name] == 1)
    stays = any(
        array.dtype.kind == "f" and array.size > _MAX_REPEATED and state.uses[name] > 1
        for name, array in arrays.items()
    )
    return freed if stays else max(freed, _MAX_FOLDED_BYTES)


def _elements(known: Known, name: str) -> float:
    """How many elements a value has; infinite where that is not known, so that it is never computed."""
    sizes = known.shape(name)
    numbers = [size for size in sizes or () if isinstance(size, int)]
    return math.inf if sizes is None or len(numbers) < len(sizes) else math.prod(numbers)


def transpose_weight(operation: Operation, state: State) -> Result:
    """Transpose of a weight that nothing else reads: it is stored transposed, in its representation."""
    name = operation.inputs[0] if operation.op == "Transpose" else ""
    weight = state.weights.get(name)
    if weight is None or state.uses[name] != 1 or operation.outputs[0] in state.outputs:
        return None
    order = operation.attributes.get("perm", tuple(reversed(range(len(shape(weight))))))
    state.weights[name] = transpose(weight, order)  # type: ignore[arg-type]
    state.known.update(name)
    return name


def constant_reshape(operation: Operation, state: State) -> Result:
    """Reshape to a computed shape: sizes that the input has at the same place are 0, one other is -1."""
    if operation.op != "Reshape":
        return None
    target, source = state.known.sizes(operation.inputs[1]), state.known.shape(operation.inputs[0])
    if target is None or _is_numbers(target) or 0 in target:
        return None
    there = source or ()
    wanted = [
        0 if isinstance(size, str) and there[place : place + 1] == (size,) else size
        for place, size in enumerate(target)
    ]
    open_places = [place for place, size in enumerate(wanted) if isinstance(size, str)]
    if len(open_places) == 1 and -1 not in wanted:
        wanted[open_places[0]] = -1
    elif open_places:
        return None
    return _with_shape(operation, wanted, state)


def constant_expand(operation: Operation, state: State) -> Result:
    """Expand to a computed shape: sizes that the input has already are 1, which keeps them."""
    if operation.op != "Expand":
        return None
    target, source = state.known.sizes(operation.inputs[1]), state.known.shape(operation.inputs[0])
    if target is None or source is None or _is_numbers(target):
        return None
    aligned = ((1,) * (len(target) - len(source)) + source)[-len(target) :]
    wanted = [
        1 if isinstance(size, str) and size == there else size
        for size, there in zip(target, aligned, strict=True)
    ]
    if any(isinstance(size, str) for size in wanted):
        return None
    return _with_shape(operation, wanted, state)


def _with_shape(operation: Operation, sizes: list[int], state: State) -> Operation:
    name = f"{operation.outputs[0]}.shape"
    while name in state.weights or name in state.known.ports:
        name += "_"
    state.weights[name] = Dense(np.array(sizes, dtype=np.int64))
    state.computed.add(name)
    attributes = {key: value for key, value in operation.attributes.items() if key != "allowzero"}
    return replace(operation, inputs=(operation.inputs[0], name), attributes=attributes)


def zero_bias(operation: Operation, state: State) -> Result:
    """A bias of zeros that the exporter made up is left out."""
    if operation.op not in ("Conv", "ConvTranspose", "Gemm") or len(operation.inputs) != 3:
        return None
    bias = state.dense(operation.inputs[2])
    if bias is None or operation.inputs[2] not in state.computed or bias.values.any():
        return None
    if operation.op == "Gemm" and state.opsets.get("", 0) < 11:
        return None
    return replace(operation, inputs=operation.inputs[:2])


_WINDOWS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")


def default_attributes(operation: Operation, state: State) -> Result:
    """Attributes that say what the standard says anyway are left out."""
    if operation.domain:
        return None
    try:
        schema = defs.get_schema(operation.op, state.opsets.get("", 1), "")
    except defs.SchemaError:
        return None
    defaults = {name: item.default_value for name, item in schema.attributes.items()}
    kept = {
        name: value
        for name, value in operation.attributes.items()
        if not _is_default(value, defaults.get(name)) and not _is_idle(operation, name, value)
    }
    return replace(operation, attributes=kept) if len(kept) != len(operation.attributes) else None


def _is_default(value: Attribute, default: AttributeProto | None) -> bool:
    if default is None:
        return False
    held = {int: default.i, float: default.f, str: default.s.decode("utf-8", "replace")}
    return default.type != AttributeProto.UNDEFINED and type(value) in held and held[type(value)] == value


def _is_idle(operation: Operation, name: str, value: Attribute) -> bool:
    """No padding, stride or dilation of a window; batch norm's momentum, which inference does not read."""
    if operation.op in _WINDOWS and isinstance(value, tuple):
        return (name == "pads" and not any(value)) or (name in ("strides", "dilations") and set(value) == {1})
    is_norm = operation.op == "BatchNormalization" and not operation.attributes.get("training_mode")
    return is_norm and name == "momentum"


RULES: tuple[Callable[[Operation, State], Result], ...] = (
    cast_like,
    forward_input,
    learn_sizes,
    transpose_weight,
    fold_constants,
    constant_reshape,
    constant_expand,
    zero_bias,
    default_attributes,
)
