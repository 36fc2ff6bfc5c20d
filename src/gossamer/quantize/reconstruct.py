"""ReconstructBlocks: the rounding of all weights of a residual block is learned together.

Li et al. 2021, BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction, section 3; with the
squared error of the block's output, every element weighted alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from gossamer.graph import Graph, Pass
from gossamer.task import Task

from .adaround import Rounding, reconstructed
from .segments import block_segments


@dataclass(frozen=True)
class ReconstructBlocks(Pass):
    """After Quantize: as AdaRound, for the pieces between the tensors that everything passes through.

    So a residual block, or a transformer's attention, is one piece, and layers in a row are one each.
    """

    rounding: Rounding = Rounding()
    batches: int | None = None

    def __call__(self, graph: Graph, task: Task) -> Graph:
        """A copy of ``graph`` with other integers."""
        return reconstructed(graph, task, "ReconstructBlocks", block_segments, self.rounding, self.batches)
