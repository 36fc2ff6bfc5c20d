// Convolution of any shape with output channels in the lanes, NCHW, fp32 (conv.h has the mathematics):
//
//   sums[pixel][o] = sum over p = (c, u, v) of x[origin(pixel) + offset(p)] w[p][o]
//
// A tile is a few neighbouring pixels of one output row by one panel of output channels; each x is broadcast, so that no
// patch is ever copied and any stride costs the same. The work is cut into chunks of output rows; the rows of inputs that
// a chunk reads are copied, with their border, where there is padding or where planes lie so far apart that reading across
// them misses the first cache. Weights are [group][panel][K][panel's channels] (the last panel is narrow where half of it
// would be empty), and pass by in blocks of K that stay in the first cache while all pixels of a chunk meet them. Good
// where output channels are many, whether pixels are few (7x7) or input channels are (images).
#pragma once

#include "kernels/conv/conv.h"

namespace gossamer {

// How the work is cut, and where things lie in scratch memory (offsets in floats).
struct DirectPlan {
  int64_t rows, chunks;  // rows of outputs of a chunk; chunks of an image
  int64_t panels;  // of one group
  bool copies;
  int64_t in_rows, in_width, plane;  // of the input as read: rows of a chunk (copies only), width, and from channel to channel
  int64_t image, offsets, floats;  // where in scratch memory, after the sums; floats: all
};
DirectPlan direct_plan(const ConvShape& shape, Tile tile);

// Channels of a panel: tile.width, or half of it.
int64_t direct_panel(const ConvShape& shape, Tile tile, int64_t panel);

extern const ConvKernel kDirectKernels[kRowCount];

void direct_portable(const ConvArgs&);
void direct_avx2(const ConvArgs&);
void direct_avx512(const ConvArgs&);

}  // namespace gossamer
