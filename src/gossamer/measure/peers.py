"""Runtimes that seldom share an environment with ours; each may live in an interpreter of ``GOSSAMER_PEERS``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from gossamer.errors import UnsupportedError
from gossamer.measure.runtimes import Arrays, OpenVino, Runtime

_DEEPSPARSE_LEAST = 0.9  # of the operators: its figure says little where another runtime does the work


class OpenVinoSparse(OpenVino):
    """OpenVINO with its option for sparse int8 weights: layers with at least half of them zero store them packed."""

    name = "openvino sparse"
    settings: ClassVar[dict[str, str | int]] = {"CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": "0.5"}


class LiteRt(Runtime):
    """LiteRT (TensorFlow Lite) with XNNPACK, on a ``.tflite`` file."""

    name, suffix, package = "litert", ".tflite", "ai_edge_litert"

    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import (  # type: ignore[import-not-found]
            Interpreter,
        )

        self._interpreter = Interpreter(str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        # Its converter narrows int64 inputs.
        self._inputs = [(port["index"], port["dtype"]) for port in self._interpreter.get_input_details()]
        self._outputs = [port["index"] for port in self._interpreter.get_output_details()]

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """See :meth:`Runtime.run`."""
        for (index, dtype), array in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, array.astype(dtype, copy=False))
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(index) for index in self._outputs)


class ExecuTorch(Runtime):
    """ExecuTorch with XNNPACK, on a ``.pte`` file."""

    name, suffix, package = "executorch", ".pte", "executorch"

    def __init__(self, path: Path, threads: int) -> None:
        import torch
        from executorch.extension.pybindings.portable_lib import (  # type: ignore[import-not-found]
            _load_for_executorch,
            _threadpool_get_thread_count,
            _unsafe_reset_threadpool,
        )

        _unsafe_reset_threadpool(threads)
        if _threadpool_get_thread_count() != threads:
            raise UnsupportedError(
                f"executorch: its pool has {_threadpool_get_thread_count()} threads, not {threads}"
            )
        self._module = _load_for_executorch(str(path))
        self._tensor: Any = torch.from_numpy

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """See :meth:`Runtime.run`."""
        return tuple(output.numpy() for output in self._module.forward([self._tensor(x) for x in inputs]))


class DeepSparse(Runtime):
    """DeepSparse's engine, on an ``.onnx`` file.

    Raises ``UnsupportedError`` where it would leave more than a tenth of the operators to the ONNX Runtime inside it.
    """

    name, suffix, package = "deepsparse", ".onnx", "deepsparse"

    def __init__(self, path: Path, threads: int) -> None:
        from deepsparse import Engine  # type: ignore[import-not-found]

        self._engine = Engine(str(path), batch_size=None, num_cores=threads)
        supported = self._engine.fraction_of_supported_ops
        if supported < _DEEPSPARSE_LEAST:
            raise UnsupportedError(f"deepsparse supports {supported:.0%} of its operators")

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """See :meth:`Runtime.run`."""
        # It compares dtypes by identity, and an array that came from another process has a dtype object of its own.
        return tuple(self._engine.run([x.view(x.dtype.type) for x in inputs], val_inp=False))
