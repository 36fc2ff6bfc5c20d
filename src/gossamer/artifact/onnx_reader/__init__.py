"""ONNX files as Programs, read with NumPy alone: what ``Engine("network.onnx")`` uses where no onnx is installed.

:func:`gossamer.onnx.load` is the importer of the training side: it also runs the official checker.
"""

from .model import parse, read

__all__ = ["parse", "read"]
