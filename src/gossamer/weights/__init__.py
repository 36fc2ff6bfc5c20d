"""The representations of a weight after training, and the functions on them. NumPy alone; no torch."""

from ._edits import masked, sparsify, take, transpose, with_codebook
from ._functions import decode, dtype, equal, nonzeros, representation, shape
from ._representations import Codebook, Dense, Quantized, Sparse, Weight, index_dtype, parameter_shape, spread

__all__ = [
    "Codebook",
    "Dense",
    "Quantized",
    "Sparse",
    "Weight",
    "decode",
    "dtype",
    "equal",
    "index_dtype",
    "masked",
    "nonzeros",
    "parameter_shape",
    "representation",
    "shape",
    "sparsify",
    "spread",
    "take",
    "transpose",
    "with_codebook",
]
