// Quantized networks as they are written down, QuantizeLinear and DequantizeLinear around operators of float32, become
// networks of integer operators on cells (op_cells.cc).
#pragma once

#include "kernels/isa.h"
#include "runtime/model.h"

namespace gossamer {

// Rewrites what it recognizes: Conv with constant 8-bit weights, with the Relu, Clip, QuantizeLinear and quantized Add that
// follow it; Add, MaxPool, means over all pixels and functions of one element between quantized tensors; operators that
// only move elements. All else is left as it is, to be computed in float32. Then removes the nodes that nothing needs.
void rewrite_quantized(Model& model, Isa isa);

}  // namespace gossamer
