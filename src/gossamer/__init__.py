"""gossamer: a trained network in; a smaller, faster one out, and a report of what was measured.

Public names load on first use, so that ``import gossamer; gossamer.Engine`` needs NumPy alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gossamer import metrics as metrics
    from gossamer.artifact import read as load  # noqa: F401
    from gossamer.engine import Engine as Engine
    from gossamer.graph import channel_groups as channel_groups
    from gossamer.graph import put_back as put_back
    from gossamer.graph.trace import trace as trace
    from gossamer.prune import NM as NM
    from gossamer.prune import Blocks as Blocks
    from gossamer.prune import Channels as Channels
    from gossamer.prune import Elements as Elements
    from gossamer.prune import Heads as Heads
    from gossamer.prune import Layers as Layers
    from gossamer.prune import Prune as Prune
    from gossamer.quantize import Binarize as Binarize
    from gossamer.quantize import Cluster as Cluster
    from gossamer.quantize import Int8 as Int8
    from gossamer.quantize import PerChannel as PerChannel
    from gossamer.quantize import PerTensor as PerTensor
    from gossamer.quantize import Quantize as Quantize
    from gossamer.quantize import Ternarize as Ternarize
    from gossamer.recipe import Repeat as Repeat
    from gossamer.result import Result as Result
    from gossamer.result import compress as compress
    from gossamer.result import load_recipe as load_recipe
    from gossamer.result import save as save
    from gossamer.task import Task as Task
    from gossamer.train import Finetune as Finetune

__version__ = "0.1.0"

# Public name -> module that defines it, and its name there where that differs.
_HOMES = {
    "Binarize": "gossamer.quantize",
    "Blocks": "gossamer.prune",
    "Channels": "gossamer.prune",
    "Cluster": "gossamer.quantize",
    "Elements": "gossamer.prune",
    "Engine": "gossamer.engine",
    "Finetune": "gossamer.train",
    "Heads": "gossamer.prune",
    "Int8": "gossamer.quantize",
    "Layers": "gossamer.prune",
    "NM": "gossamer.prune",
    "PerChannel": "gossamer.quantize",
    "PerTensor": "gossamer.quantize",
    "Prune": "gossamer.prune",
    "Quantize": "gossamer.quantize",
    "Repeat": "gossamer.recipe",
    "Result": "gossamer.result",
    "Task": "gossamer.task",
    "Ternarize": "gossamer.quantize",
    "channel_groups": "gossamer.graph",
    "compress": "gossamer.result",
    "load": "gossamer.artifact:read",
    "load_recipe": "gossamer.result",  # which knows all parts of recipes, those that measure too
    "metrics": "gossamer",
    "put_back": "gossamer.graph",
    "save": "gossamer.result",
    "trace": "gossamer.graph",
}

__all__ = sorted(_HOMES)

_COMPRESSION_NEEDS = frozenset(
    {"torch", "onnx", "onnxscript", "accelerate", "pydantic", "yaml", "rich", "jinja2", "psutil"}
)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'gossamer' has no attribute {name!r}; it has: {', '.join(__all__)}")
    try:
        if home == "gossamer":
            return importlib.import_module(f"gossamer.{name}")
        module, _, original = home.partition(":")
        return getattr(importlib.import_module(module), original or name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _COMPRESSION_NEEDS:
            raise
        from gossamer.errors import MissingDependencyError

        raise MissingDependencyError(
            f"gossamer.{name} needs the package {error.name!r}, which serving does not: "
            "pip install 'gossamer[compress]'"
        ) from error


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
