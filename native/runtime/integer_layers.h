// Layers of integer-only networks (docs/operators.md, domain "gossamer") on tensors in cells.
#pragma once

#include "runtime/quantized_cells.h"

namespace gossamer {

// True where a step took the node's place:
//   ConvInteger with constant weights, with the bias (Add) and the Requantize to bytes that follow it; without the latter,
//   its int32 sums;
//   Requantize of a sum of two tensors of bytes, each requantized to a common scale (a residual sum), or of one alone;
//   MaxPool of bytes.
bool rewrite_integer_layer(CellRewriter& r, const Node& node);

}  // namespace gossamer
