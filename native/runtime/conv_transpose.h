// Transposed convolution over one or two spatial dimensions with constant weights: a matrix product, as a convolution by
// single pixels, and the sums of what meets at a pixel.
#pragma once

#include "runtime/window_nd.h"

namespace gossamer {

// `window`: as transposed_window_nd has it.
Step conv_transpose_step(Build& b, const WindowNd& window);

}  // namespace gossamer
