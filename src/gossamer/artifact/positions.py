"""Where the kept elements of a weight are: one bit for each, or for each block of elements that stay together.

Networks that are pruned for speed keep whole blocks: some neighbours along the outputs (rows) by some along the inputs
(depth), at one place of a convolution's kernel. A bit for a block of 16 elements costs a sixteenth of theirs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gossamer import _native
from gossamer.errors import FormatError

from . import layout
from .layout import Positions
from .streams import Grid
from .wire import Part, Reader, Writer

Flat = npt.NDArray[np.int64]

_MAX_LAG = 64
_SIDES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Tiling:
    """A weight of ``shape`` in blocks of ``rows`` by ``depth`` elements; the last of each axis may be smaller."""

    shape: tuple[int, ...]
    rows: int = 1
    depth: int = 1

    @property
    def whole(self) -> tuple[int, int, int]:
        """The weight as (outputs, inputs, places of the kernel); a vector is one output."""
        first, second = self.shape[:2] if len(self.shape) > 1 else (1, math.prod(self.shape))
        return first, second, math.prod(self.shape[2:])

    @property
    def is_elements(self) -> bool:
        """Whether a block is a single element."""
        return self.rows == self.depth == 1

    @property
    def counts(self) -> tuple[int, int, int]:
        """Blocks along the outputs, along the inputs, and places of the kernel."""
        outputs, inputs, places = self.whole
        return -(-outputs // self.rows), -(-inputs // self.depth), places

    @property
    def grid(self) -> Grid:
        """The blocks as a matrix."""
        outputs, inputs, places = self.counts
        return Grid(outputs, inputs * places)

    def blocks(self, elements: npt.NDArray[np.bool_]) -> Flat:
        """Flat numbers of the blocks that have one of ``elements`` (one flag each)."""
        if self.is_elements:
            return np.flatnonzero(elements)
        (outputs, inputs, places), (across, along, _) = self.whole, self.counts
        edges = ((0, -outputs % self.rows), (0, -inputs % self.depth), (0, 0))
        padded = np.pad(elements.reshape(self.whole), edges)
        return np.flatnonzero(padded.reshape(across, self.rows, along, self.depth, places).any((1, 3)))

    def size(self, blocks: Flat) -> int:
        """Elements in the blocks of these numbers."""
        (outputs, inputs, places), (_, along, _) = self.whole, self.counts
        heights = np.minimum(self.rows, outputs - blocks // (along * places) * self.rows)
        widths = np.minimum(self.depth, inputs - blocks // places % along * self.depth)
        return int((heights * widths).sum())

    def elements(self, blocks: Flat) -> Flat:
        """Flat positions of all elements of the blocks of these numbers, increasing."""
        if self.is_elements:
            return blocks
        outputs, inputs, _ = self.whole
        kept = np.zeros(self.grid.elements, dtype=bool)
        kept[blocks] = True
        spread = kept.reshape(self.counts).repeat(self.rows, 0).repeat(self.depth, 1)
        return np.flatnonzero(spread[:outputs, :inputs])


def filled(elements: npt.NDArray[np.bool_], shape: tuple[int, ...], least: tuple[int, int]) -> Tiling:
    """The largest blocks such that of what they keep at least the share ``least`` (a fraction) are ``elements``."""
    count, (share, of) = int(np.count_nonzero(elements)), least
    best = Tiling(shape)
    if len(shape) < 2 or count == 0:
        return best
    full = {(1, 1)}
    for rows, depth in sorted(itertools.product(_SIDES, repeat=2), key=math.prod):
        # What half the block does not fill, the whole does not either.
        halves = [(rows // 2, depth)] * (rows > 1) + [(rows, depth // 2)] * (depth > 1)
        tiling = Tiling(shape, rows, depth)
        if rows > shape[0] or depth > shape[1] or not halves or not full.issuperset(halves):
            continue
        if tiling.size(tiling.blocks(elements)) * share <= count * of:
            full.add((rows, depth))
            best = tiling
    return best


def write_positions(to: Writer, blocks: Flat, tiling: Tiling) -> int:
    """How the blocks are given, and which. Returns the stride of the elements, for the coder of their values."""
    grid = tiling.grid
    tried = [
        (_native.pattern_encode(blocks, grid.rows, grid.columns, stride), stride)
        for stride in _strides(blocks, grid, tiling.shape)
    ]
    data, stride = min(tried, key=lambda item: (len(item[0]), item[1]))
    if tiling.is_elements:
        to.byte(Positions.PATTERN)
    else:
        to.byte(Positions.BLOCKS)
        to.number(tiling.rows)
        to.number(tiling.depth)
        to.number(len(blocks))
    to.number(stride)
    to.stream(data)
    return _stride_of_elements(tiling, stride)


def read_positions(source: Reader, shape: tuple[int, ...], kept: int, kind: Positions) -> tuple[Flat, int]:
    """The positions of ``kept`` elements, increasing, and their stride; the budget holds them already."""
    tiling, count = Tiling(shape), kept
    if kind is Positions.BLOCKS:
        rows, depth = (source.number(layout.MAX_ELEMENTS) for _ in range(2))
        outputs, inputs, _ = tiling.whole
        if not (1 <= rows <= max(1, outputs) and 1 <= depth <= max(1, inputs) and rows * depth > 1):
            raise FormatError(f"a weight of shape {shape} cannot be kept in blocks of {rows} by {depth}")
        tiling = Tiling(shape, rows, depth)
        # Flags of the blocks, of the elements, and of the elements with the edges; and the blocks' numbers.
        grid = tiling.grid
        count = source.number(grid.elements)
        source.budget.charge(2 * grid.elements * rows * depth + grid.elements + 8 * count)
    grid = tiling.grid
    stride = source.number(grid.columns)
    blocks = np.empty(count, dtype=np.int64)
    stream = source.stream(
        Part.INDEX, "pattern" if kind is Positions.PATTERN else "blocks", grid.elements / max(1, kept)
    )
    _native.pattern_decode(np.frombuffer(stream, dtype=np.uint8), grid.rows, grid.columns, stride, blocks)
    positions = tiling.elements(blocks)
    if len(positions) != kept:
        raise FormatError(f"{count} blocks hold {len(positions)} elements, where {kept} are kept")
    return positions, _stride_of_elements(tiling, stride)


def _stride_of_elements(tiling: Tiling, stride: int) -> int:
    """``stride`` of the blocks where these are elements; else as far as those of a block lie apart along the inputs."""
    return stride if tiling.is_elements else tiling.whole[2]


def _strides(blocks: Flat, grid: Grid, shape: tuple[int, ...]) -> list[int]:
    """Distances at which columns may be neighbours: none, a kernel's width, and where densities of columns
    repeat.

    In integers, so that every machine tries the same ones.
    """
    found = {0}
    if grid.rows < 2 or grid.columns < 4 or not len(blocks):
        return [0]
    if len(shape) > 2:
        found.add(shape[-1])
    counts = np.bincount(blocks % grid.columns, minlength=grid.columns).astype(np.int64)
    lags = range(2, min(_MAX_LAG, grid.columns // 2) + 1)
    # Mean squared difference at every lag, scaled so that the division loses nothing that matters.
    distances = [
        int(((counts[lag:] - counts[:-lag]) ** 2).sum()) * 4096 // (grid.columns - lag) for lag in lags
    ]
    found.update(lag for _, lag in sorted(zip(distances, lags, strict=True))[:2])
    return sorted(lag for lag in found if lag <= grid.columns)
