"""Run by test_engine_memory.py with the counter preloaded: prints how many allocations 1 and 500 runs make."""

import ctypes
import sys

import numpy as np

from gossamer import _native, artifact
from gossamer.engine.lowering import native_model

program = artifact.read(sys.argv[1])
threads = int(sys.argv[2])
counter = ctypes.CDLL(None).allocations
counter.restype = ctypes.c_long
engine = _native.NativeEngine(native_model(program), threads, _native.machine_isas()[-1])
inputs = [
    np.zeros([size if isinstance(size, int) else 3 for size in port.shape], port.dtype)
    for port in program.inputs
]
engine.run(inputs, 3)


def allocations(repeats):
    before = counter()
    engine.run(inputs, repeats)
    return counter() - before


allocations(1)
print(allocations(1), allocations(500))
