"""Every ONNX operator that has a form in torch here."""

from __future__ import annotations

from .attention import ATTENTION
from .elements import ELEMENTS
from .indexing import INDEXING
from .norms import NORMS
from .products import PRODUCTS
from .recurrent import RECURRENT
from .resizing import RESIZING
from .shapes import SHAPES
from .values import Function
from .windows import WINDOWS

OPERATORS: dict[str, Function] = {
    **ELEMENTS, **PRODUCTS, **WINDOWS, **NORMS, **SHAPES, **INDEXING, **RESIZING, **ATTENTION, **RECURRENT,
}  # fmt: skip
