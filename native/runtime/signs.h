// Networks of signs: binary weights and binary activations, whose products are counts of bits (kernels/xnor).
#pragma once

#include "runtime/op.h"

namespace gossamer {

// Puts gossamer.SignConv and gossamer.SignMatMul in place of Conv (one group), Gemm and MatMul that multiply
//   Where(GreaterOrEqual(x, t), s, -s), or Greater, of one threshold t and one magnitude s, with
//   constant weights that are a and -a in each output channel, with an a > 0 of its own
void rewrite_signs(Model& model);

std::span<const Operator> sign_operators();

}  // namespace gossamer
