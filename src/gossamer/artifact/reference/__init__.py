"""The coders of native/codec/ once more, in plain Python: slow, and the same bytes.

Each coder is a pair ``NAME_encode``/``NAME_decode`` with the arguments of its native twin, except that
decoders take the number of symbols and return them. Damaged data raises FormatError.
"""

from .matrices import pattern_decode, pattern_encode, values_decode, values_encode
from .symbols import huffman_decode, huffman_encode, packed_decode, packed_encode, rans_decode, rans_encode
from .text import text_decode, text_encode

__all__ = [
    "huffman_decode",
    "huffman_encode",
    "packed_decode",
    "packed_encode",
    "pattern_decode",
    "pattern_encode",
    "rans_decode",
    "rans_encode",
    "text_decode",
    "text_encode",
    "values_decode",
    "values_encode",
]
