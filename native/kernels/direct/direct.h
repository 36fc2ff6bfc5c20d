// Convolution of any shape with output channels in the lanes, NCHW, fp32 (conv.h has the mathematics):
//
//   sums[pixel][o] = sum over p = (c, u, v) of x[origin(pixel) + offset(p)] w[p][o]
//
// A tile is a few neighbouring pixels of one output row by one panel of output channels; each x is broadcast, so that no
// patch is ever copied and any stride costs the same. Inputs with padding are copied with their border, image by image.
// Weights are [group][panel][K][panel's channels], and pass by in blocks of K that stay in the first cache while all pixels
// of a task meet them. Good where output channels are many, whether pixels are few (7x7) or input channels are (images).
#pragma once

#include "kernels/conv/conv.h"

namespace gossamer {

// How the work is cut, and where things lie in scratch memory (offsets in floats).
struct DirectPlan {
  bool pads;  // the input is copied
  int64_t padded_h, padded_w;  // of the input as read
  int64_t rows, row_chunks;  // rows of outputs of a task; how many such there are
  int64_t panels;  // of one group
  bool panels_first;  // neighbouring tasks share the pixels, not the weights
  int64_t image, offsets, floats;  // offsets, after the sums; floats: all
};
DirectPlan direct_plan(const ConvShape& shape, Tile tile);

extern const ConvKernel kDirectKernels[kRowCount];

void direct_portable(const ConvArgs&);
void direct_avx2(const ConvArgs&);
void direct_avx512(const ConvArgs&);

}  // namespace gossamer
