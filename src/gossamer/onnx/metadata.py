"""What an ONNX model says about itself, as the short strings of ``Program.metadata``, and back.

The model's own ``metadata_props`` keep their keys. The fields of the file that have no place in a Program
(producer, version, names) lie under keys that begin with "onnx.", where they are set at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto

from gossamer.errors import FormatError
from gossamer.graph.journal import note

DEFAULT_GRAPH_NAME = "gossamer"  # a graph must have a name; this one says nothing
_PREFIX = "onnx."
_TEXTS = ("producer_name", "producer_version", "domain")
_VERSION = _PREFIX + "model_version"
_GRAPH = _PREFIX + "graph"


def read(model: ModelProto) -> dict[str, str]:
    """Metadata of ``model``, in file order, its own entries first."""
    found: dict[str, str] = {}
    for entry in model.metadata_props:
        if entry.key in found:
            raise FormatError(f"metadata key {entry.key!r} is there twice")
        found[entry.key] = entry.value
    fields = {_PREFIX + name: getattr(model, name) for name in _TEXTS}
    fields[_VERSION] = str(model.model_version) if model.model_version else ""
    fields[_GRAPH] = model.graph.name if model.graph.name != DEFAULT_GRAPH_NAME else ""
    for key, value in fields.items():
        if key in found:
            note(key, "dropped: this metadata key is the name that gossamer gives to a field of the file")
            del found[key]
        if value:
            found[key] = value
    return found


def write(metadata: Mapping[str, str], model: ModelProto) -> None:
    """Put ``metadata`` into ``model``; the inverse of :func:`read`."""
    fields = {_PREFIX + name: name for name in _TEXTS}
    model.graph.name = metadata.get(_GRAPH) or DEFAULT_GRAPH_NAME
    for key, value in metadata.items():
        if key in fields:
            setattr(model, fields[key], value)
        elif key == _VERSION:
            model.model_version = int(value)
        elif key != _GRAPH:
            model.metadata_props.add(key=key, value=value)
