// Convolution of bytes over one channel (grey images, spectrograms): cells of four neighbours in place of four channels,
// three of which would be empty.
#pragma once

#include "runtime/cell_conv.h"

namespace gossamer {

bool is_of_single_channel(const CellConv& conv);

// With I the padded image and P[y][x] = (I[y][x], I[y][x + 1], I[y][x + 2], I[y][x + 3]), a kernel of w columns over I is
// one of ceil(w / 4) columns, four apart, over the cells P: a quarter of the products.
Step single_channel_conv_step(Build& b, const CellConv& conv);

}  // namespace gossamer
