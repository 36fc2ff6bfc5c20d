"""How weights become bytes: an option of :func:`gossamer.artifact.pack`, never of what is read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .layout import Coder


@dataclass(frozen=True)
class Smallest:
    """The default: for every stream the coder that makes it smallest and decodes fast enough."""


@dataclass(frozen=True)
class DeepCompression:
    """The scheme of Han et al. 2016: relative indices with filler zeros; Huffman codes for all symbols.

    ``convolution_bits``, ``linear_bits``: bits of a relative index in weights of three or more dimensions
    and in all others, 1 to 16. ``huffman=False`` leaves out the entropy coding: every symbol in a fixed
    number of bits.
    """

    convolution_bits: int = 8
    linear_bits: int = 5
    huffman: bool = True

    def __post_init__(self) -> None:
        for bits in (self.convolution_bits, self.linear_bits):
            if not 1 <= bits <= 16:
                raise ValueError(f"a relative index of {bits} bits is not possible; use 1 to 16")

    def index_bits(self, shape: tuple[int, ...]) -> int:
        """Bits of a relative index in a weight of this shape."""
        return self.convolution_bits if len(shape) > 2 else self.linear_bits

    @property
    def coder(self) -> Coder:
        """The coder of every stream of symbols."""
        return Coder.HUFFMAN if self.huffman else Coder.PACKED


Coding: TypeAlias = Smallest | DeepCompression
