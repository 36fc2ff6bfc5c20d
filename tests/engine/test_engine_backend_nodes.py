"""The ONNX standard's own node tests of every operator that the engine has: right, or refused by name at load."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

import gossamer.onnx
from gossamer import _native
from gossamer.engine import Engine, operators
from gossamer.errors import UnsupportedError
from gossamer.weights import Dense

ISAS = _native.machine_isas()


@cache
def cases():
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    known = set(operators())
    for case in collected:
        case.data_sets[:] = [
            ([*map(array, given)], [*map(array, wanted)]) for given, wanted in case.data_sets
        ]
    return [case for case in collected if {node.op_type for node in case.model.graph.node} <= known]


def array(value):
    """Data of the types that NumPy lacks comes as a TensorProto."""
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def with_constant_parameters(program, arrays):
    """The program with all inputs but the first made weights, and what is left of the arrays."""
    baked = {
        port.name: Dense(np.asarray(array))
        for port, array in list(zip(program.inputs, arrays, strict=True))[1:]
    }
    return replace(program, inputs=program.inputs[:1], weights={**program.weights, **baked}), arrays[:1]


def with_first_output_only(program):
    """What remains where the other outputs, which training reads, are not asked for."""
    operations = tuple(replace(operation, outputs=operation.outputs[:1]) for operation in program.operations)
    return replace(program, operations=operations, outputs=program.outputs[:1])


def outcomes(case, isa):
    """ "right", or the reason why it was refused, for the case as it is and with its parameters constant."""
    try:
        program = gossamer.onnx.load(case.model)
    except UnsupportedError as error:
        return [str(error)]
    results = []
    if [operation.op for operation in program.operations] == ["LayerNormalization"]:
        program = with_first_output_only(program)
    for constant in (False, True):
        for arrays, wanted in case.data_sets:
            given = [np.asarray(array) for array in arrays]
            try:
                changed, given = with_constant_parameters(program, given) if constant else (program, given)
                engine = Engine(changed, isa=isa)
            except UnsupportedError as error:
                results.append(str(error))
                continue
            outputs = engine(*given)
            compare(
                case.name,
                outputs if isinstance(outputs, dict) else {"y": outputs},
                wanted[: len(program.outputs)],
            )
            results.append("right")
    return results


def compare(name, outputs, wanted):
    assert len(outputs) == len(wanted), name
    for got, array in zip(outputs.values(), wanted, strict=True):
        array = np.asarray(array)
        assert (got.dtype, got.shape) == (array.dtype, array.shape), name
        np.testing.assert_allclose(got, array, rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("isa", ISAS)
def test_every_case_is_right_or_refused(isa):
    right, seen = Counter(), set()
    for case in cases():
        used = {node.op_type for node in case.model.graph.node}
        found = outcomes(case, isa)
        for message in found:
            if message != "right":
                assert len(message) > 20, "a refusal says what and what to do"
        if "right" in found:
            right.update(used)
            seen.add(case.name)
    assert len(seen) >= 450, f"{len(seen)} cases pass"
    never = set(operators()) - set(right)
    assert never <= {"Constant"}, f"no case passes of {sorted(never)}"
