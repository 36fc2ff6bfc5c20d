// A depthwise convolution and the pointwise one that alone reads it, in one step: strips of rows, over cells of bytes.
//
// The first one writes a strip of all its channels, a few rows, which the second one reads while it is in the second cache;
// the tensor between them never exists. Rows that a window reaches beyond its strip are read again, none is computed twice.
#pragma once

#include "runtime/depthwise_cells.h"

namespace gossamer {

// Whether the tensor between them, of so many bytes, is far larger than the second cache. Where it is not, two steps are as
// fast (docs/results/kernels.md), and can be told apart.
bool is_worth_strips(int64_t bytes);

Step depthwise_pointwise_step(Build& b, const CellConv& depthwise, const CellConv& pointwise);

}  // namespace gossamer
