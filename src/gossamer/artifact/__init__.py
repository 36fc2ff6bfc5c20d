"""The ``.goss`` format: one file, the Program and its weights, lossless. docs/format.md is its definition."""

from .coding import Coding, DeepCompression, Smallest
from .file import pack, read, unpack, write
from .program import Attribute, Operation, Port, Program, Size, same, validate

__all__ = [
    "Attribute",
    "Coding",
    "DeepCompression",
    "Operation",
    "Port",
    "Program",
    "Size",
    "Smallest",
    "pack",
    "read",
    "same",
    "unpack",
    "validate",
    "write",
]
