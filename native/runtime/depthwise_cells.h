// The step of a depthwise convolution over planes of cells of bytes.
#pragma once

#include "runtime/cell_conv.h"

namespace gossamer {

// Whether kernels/depthwise_cells computes this convolution; others are cell_conv_step's.
bool is_depthwise_of_cells(const CellConv& conv);
Step depthwise_cells_step(Build& b, const CellConv& conv);

}  // namespace gossamer
