"""A Program as a torch module: so every pass works on a network of which there is nothing but an ONNX file.

A file for each kind of operator; ``operators.py`` lists them, ``versions.py`` brings older versions of the standard to
the one that they know, ``module.py`` puts them together.
"""

from .module import Network, to_graph

__all__ = ["Network", "to_graph"]
