"""The runtimes that are raced: each a small final class that loads one kind of file and has one method,
``run``.

They are constructed inside a worker process of their own (worker.py), which imports nothing else. All of them
are held to the same number of threads, and what a file has in single precision is computed in it. A runtime whose
package does not go together with ours may be installed elsewhere: see :func:`interpreter_with`.
"""

from __future__ import annotations

import abc
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from gossamer.errors import MissingDependencyError

Arrays: TypeAlias = "tuple[npt.NDArray[np.generic], ...]"


class Runtime(abc.ABC):
    """A loaded network. Final subclasses say what they are called, which files they read and what must be
    installed.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    package: ClassVar[str]

    @abc.abstractmethod
    def __init__(self, path: Path, threads: int) -> None:
        """Load ``path`` to run on ``threads`` threads."""

    @abc.abstractmethod
    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """Outputs for ``inputs``, both in the order in which the network declares them."""

    @classmethod
    def installed(cls) -> bool:
        """Whether this runtime's package can be imported on this machine."""
        return interpreter_with(cls.package) is not None

    @classmethod
    def interpreter(cls) -> str:
        """The Python that runs it. Raises ``MissingDependencyError`` where the runtime is not installed."""
        python = interpreter_with(cls.package)
        if python is None:
            raise MissingDependencyError(f"{cls.name} is not installed: pip install {cls.package}")
        return python


def interpreter_with(package: str) -> str | None:
    """The Python interpreter that has ``package``: this one, or the first of those named by the environment variable
    ``GOSSAMER_PEERS`` (paths, separated as in ``PATH``; of this Python's version, with NumPy); None where none has.
    """
    if find_spec(package.partition(".")[0]) is not None:
        return sys.executable
    others = filter(None, os.environ.get("GOSSAMER_PEERS", "").split(os.pathsep))
    return next((python for python in others if _has(python, package)), None)


@lru_cache
def _has(python: str, package: str) -> bool:
    code = "import sys; from importlib.util import find_spec; sys.exit(find_spec(sys.argv[1]) is None)"
    try:
        return subprocess.run([python, "-c", code, package], check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Gossamer(Runtime):
    """Our own Engine, on a ``.goss`` file."""

    name, suffix, package = "gossamer", ".goss", "gossamer"

    def __init__(self, path: Path, threads: int) -> None:
        from gossamer.engine import Engine

        self._engine = Engine(path, threads=threads)

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """See :meth:`Runtime.run`."""
        return _as_tuple(self._engine(*inputs))


class OnnxRuntime(Runtime):
    """ONNX Runtime's CPU provider, all graph optimizations on, on an ``.onnx`` file."""

    name, suffix, package = "onnxruntime", ".onnx", "onnxruntime"
    settings: ClassVar[dict[str, str]] = {}  # of the session

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        # Its threads must not keep spinning on the core while another runtime's block runs.
        for key, value in {"session.force_spinning_stop": "1", **self.settings}.items():
            options.add_session_config_entry(key, value)
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._names = [port.name for port in self._session.get_inputs()]

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """See :meth:`Runtime.run`."""
        return tuple(self._session.run(None, dict(zip(self._names, inputs, strict=True))))


class OpenVino(Runtime):
    """OpenVINO's CPU plug-in, latency hint, float32 kernels, on an ``.onnx`` file or its own ``.xml``."""

    name, suffix, package = "openvino", ".onnx", "openvino"
    settings: ClassVar[dict[str, str | int]] = {}

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            **self.settings,
        }
        self._request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """See :meth:`Runtime.run`."""
        return tuple(self._request.infer(list(inputs)).values())


class TorchEager(Runtime):
    """PyTorch as it is, on a ``.pt2`` file (torch.export), without what export adds to a call: checks,
    hooks, pytrees.
    """

    name, suffix, package = "torch eager", ".pt2", "torch"

    def __init__(self, path: Path, threads: int) -> None:
        self._forward = _TorchForward(path, threads)

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """See :meth:`Runtime.run`."""
        return self._forward.run(inputs)


class TorchCompiled(Runtime):
    """``torch.compile`` with its weights frozen, on a ``.pt2`` file. Compiling takes from seconds to
    minutes.
    """

    name, suffix, package = "torch compiled", ".pt2", "torch"

    def __init__(self, path: Path, threads: int) -> None:
        import torch
        from torch._inductor import config

        config.freezing = True
        self._forward = _TorchForward(path, threads)
        self._forward.call = torch.compile(self._forward.call)

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        """See :meth:`Runtime.run`."""
        return self._forward.run(inputs)


#: All of them, in the order in which they are listed; ``TorchCompiled`` is left to be asked for.
RUNTIMES: tuple[type[Runtime], ...] = (Gossamer, TorchEager, OnnxRuntime, OpenVino)


def _as_tuple(outputs: Any) -> Arrays:
    if isinstance(outputs, dict):
        return tuple(outputs.values())
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


class _TorchForward:
    """The exported module's code as a plain function: hooks and pytrees would double a small network's
    latency.
    """

    def __init__(self, path: Path, threads: int) -> None:
        import torch
        from torch.fx.graph import CodeGen

        torch.set_num_threads(threads)  # of this worker process, which is the runtime's own
        module = torch.export.load(path).module(check_guards=False)
        module.graph.set_codegen(CodeGen())
        module.recompile()
        self.call: Callable[..., Any] = module.forward
        self._tensor: Callable[..., Any] = torch.from_numpy
        # Entered once and kept for the life of the process: entering it takes longer than a small layer.
        self._mode = torch.inference_mode()
        self._mode.__enter__()

    def run(self, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
        outputs: Any = _as_tuple(self.call(*[self._tensor(x) for x in inputs]))
        return tuple(output.numpy() for output in outputs)
