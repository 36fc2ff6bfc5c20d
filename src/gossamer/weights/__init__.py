"""The representations of a weight after training, and the functions on them. NumPy alone; no torch."""

from ._representations import Codebook, Dense, Quantized, Sparse, Weight
from ._functions import decode, dtype, equal, nonzeros, shape

__all__ = [
    "Codebook",
    "Dense",
    "Quantized",
    "Sparse",
    "Weight",
    "decode",
    "dtype",
    "equal",
    "nonzeros",
    "shape",
]
