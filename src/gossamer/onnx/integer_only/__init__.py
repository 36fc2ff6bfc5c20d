"""Programs without floating point: made of quantized ones, checked, and run by a NumPy reference."""

from .check import check_integer, float_operations
from .converting import convert
from .reference import run

__all__ = ["check_integer", "convert", "float_operations", "run"]
