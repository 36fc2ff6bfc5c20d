"""Every error that gossamer raises on purpose. A message names the value, the place and the repair.

GossamerError
├── TaskError          a loader, a loss or a metric cannot be used
├── TraceError         the model cannot be turned into a graph
├── GraphError         a graph breaks the specification (graph/spec.py)
├── RecipeError        a recipe does not fit the network, or a recipe file cannot be read
├── CheckpointError    a checkpoint belongs to another run, or cannot be read
├── WeightError        the parts of a weight contradict each other, or a value cannot be represented
├── FormatError        bytes are not a valid .goss or ONNX file
├── UnsupportedError   an operator, a type or a feature that gossamer does not have
├── InputError         an Engine was called with the wrong names, shapes or dtypes
├── SaveError          a file could not be written; the old file is whole
└── MissingDependencyError   an optional dependency is not installed
"""

from __future__ import annotations


class GossamerError(Exception):
    """Base of every error that gossamer raises on purpose."""


class TaskError(GossamerError):
    """A loader, a loss or a metric cannot be used."""


class TraceError(GossamerError):
    """The model cannot be turned into a graph."""


class GraphError(GossamerError):
    """A graph breaks the specification that holds before and after every pass."""


class RecipeError(GossamerError, ValueError):
    """A recipe does not fit the network, or a recipe file cannot be read."""


class CheckpointError(GossamerError):
    """A checkpoint belongs to another run, or cannot be read."""


class WeightError(GossamerError, ValueError):
    """The parts of a weight contradict each other, or a value cannot be represented."""


class FormatError(GossamerError, ValueError):
    """Bytes are not a valid ``.goss`` or ONNX file."""


class UnsupportedError(GossamerError, NotImplementedError):
    """An operator, a type or a feature that gossamer does not have."""


class InputError(GossamerError, ValueError):
    """An Engine was called with the wrong names, shapes or dtypes."""


class SaveError(GossamerError, OSError):
    """A file could not be written; what stood there before is whole."""


class MissingDependencyError(GossamerError, ImportError):
    """An optional dependency is not installed."""
