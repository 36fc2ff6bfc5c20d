// Winograd's minimal filtering (Lavin and Gray 2016): 3x3 convolution, stride 1, in tiles of m x m outputs, NCHW, fp32.
//
//   Y = A^T [ sum over c of (G g_c G^T) * (B^T d_c B) ] A        (* element by element; docs/numerics.md, section 8)
//
// A tile of n x n inputs d, n = m + 2, and a filter g are transformed; for each of the n^2 positions the sum over channels is
// a matrix product (tiles x C) (C x O): n^2 / m^2 products of numbers per output instead of 9 (m = 2: 4, 4: 2.25, 6: 1.78).
//
// Lanes are channels. A block of tiles is transformed into scratch memory that stays in the second cache, [position][tile]
// [channel]; then, for a chunk of output channels at a time, the products are made and transformed back, so that the
// weights, [panel of output channels][position][C][panel], are read once per block.
#pragma once

#include "kernels/conv/conv.h"

namespace gossamer {

// How the work is cut, and where things lie in scratch memory (offsets in floats).
struct WinogradPlan {
  int64_t tiles_y, tiles_x, tiles;  // tiles: of all images
  int64_t block, blocks;  // tiles of a block (the last one may have fewer)
  int64_t panels, chunk, chunks;  // panels of output channels; panels of a chunk
  int64_t in_row, in_position;  // strides of transformed inputs: from tile to tile, from position to position
  int64_t out_row, out_position;  // of products
  int64_t products, stage, floats;  // offsets: after the transformed inputs; floats: all
};
WinogradPlan winograd_plan(const ConvShape& shape, int m, Tile tile);

extern const ConvKernel kWinograd2Kernels[kRowCount], kWinograd4Kernels[kRowCount], kWinograd6Kernels[kRowCount];

void winograd2_portable(const ConvArgs&);
void winograd2_avx2(const ConvArgs&);
void winograd2_avx512(const ConvArgs&);
void winograd4_portable(const ConvArgs&);
void winograd4_avx2(const ConvArgs&);
void winograd4_avx512(const ConvArgs&);
void winograd6_portable(const ConvArgs&);
void winograd6_avx2(const ConvArgs&);
void winograd6_avx512(const ConvArgs&);

}  // namespace gossamer
