// Convolution of bytes over one to three channels (grey images, spectrograms, colours): a cell takes its four bytes from
// neighbouring pixels too, where one of a single pixel would be partly empty.
#pragma once

#include "runtime/cell_conv.h"

namespace gossamer {

bool is_of_neighbours(const CellConv& conv);

// A block is the fewest pixels whose bytes fill whole cells: q = 4 / gcd(4, C) pixels, p = C / gcd(4, C) cells. Let
// P[j][y][x] be cell j of the block that begins at pixel (y, x) of the padded image. A kernel of w columns over C channels
// is then one of ceil(w / q) columns, q apart, over the 4 p channels of P; of a kernel of 7 columns over 3 channels, 42
// cells are left of 49. The rows that a stride s takes apart are s times as many channels, so P is read as it lies.
Step neighbour_conv_step(Build& b, const CellConv& conv);

}  // namespace gossamer
