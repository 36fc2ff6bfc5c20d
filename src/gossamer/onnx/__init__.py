"""Import from ONNX, export to ONNX, and the way from a trained graph to a Program.

>>> program = gossamer.onnx.load("network.onnx")
>>> gossamer.onnx.save(program, "network-again.onnx")
"""

from .exporting import save, to_onnx
from .importing import load
from .lowering import lower
from .network import to_graph
from .simplifying import simplify

__all__ = ["load", "lower", "save", "simplify", "to_graph", "to_onnx"]
