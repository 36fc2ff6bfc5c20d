"""The ``.goss`` format: one file, the Program and its weights, lossless. docs/format.md is its definition."""

from .coding import Coding, DeepCompression, Smallest
from .describe import Description, WeightBytes, describe
from .file import pack, read, unpack, write
from .program import Attribute, Operation, Port, Program, Size, Subgraph, same, validate

__all__ = [
    "Attribute",
    "Coding",
    "DeepCompression",
    "Description",
    "Operation",
    "Port",
    "Program",
    "Size",
    "Smallest",
    "Subgraph",
    "WeightBytes",
    "describe",
    "pack",
    "read",
    "same",
    "unpack",
    "validate",
    "write",
]
