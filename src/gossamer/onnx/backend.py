"""gossamer as an ONNX backend: what ``onnx.backend.test`` and other tools that know the interface call.

>>> import gossamer.onnx.backend as backend
>>> outputs = backend.prepare(model).run(inputs)

https://github.com/onnx/onnx/blob/main/docs/ImplementingAnOnnxBackend.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto
from onnx.backend.base import Backend, BackendRep, namedtupledict

from gossamer.artifact import onnx_reader
from gossamer.engine import Engine
from gossamer.errors import InputError, UnsupportedError

Array = npt.NDArray[np.generic]


class GossamerRep(BackendRep):
    """A model that is ready to run."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs for ``inputs``: arrays in the order of the model's inputs, or by name, or a single array."""
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        results = self.engine(**inputs) if isinstance(inputs, dict) else self.engine(*inputs)
        values = results if isinstance(results, dict) else {self.engine.outputs[0].name: results}
        outputs: tuple[Any, ...] = namedtupledict("Outputs", list(values))(*values.values())
        return outputs


class GossamerBackend(Backend):
    """The interface's class methods. Errors are gossamer's: FormatError, UnsupportedError, InputError."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model can be prepared: every operator, attribute and type is supported."""
        try:
            cls.prepare(model, device, **kwargs)
        except UnsupportedError:
            return False
        return True

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> GossamerRep:
        """The model, loaded. ``kwargs``: those of :class:`gossamer.Engine`."""
        if not cls.supports_device(device):
            raise InputError(f"device {device!r}: gossamer runs on the CPU")
        return GossamerRep(Engine(onnx_reader.parse(model.SerializeToString()), **kwargs))

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Sequence[Array], device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Prepare and run once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """ "CPU", with or without a number."""
        return device.partition(":")[0] == "CPU"


is_compatible = GossamerBackend.is_compatible
prepare = GossamerBackend.prepare
run = GossamerBackend.run_model
supports_device = GossamerBackend.supports_device
