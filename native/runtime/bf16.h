// Steps that multiply in bfloat16, taken where Build::precision asks for them.
#pragma once

#include <string>

#include "kernels/bf16/bf16.h"
#include "kernels/conv/conv.h"
#include "runtime/op.h"

namespace gossamer {

// Why bf16 is no faster than float32 here; empty where it is.
std::string bf16_note(Isa isa);

// k elements side by side, to pairs.
void round_to_pairs(const Bf16Kernel& kernel, const float* x, int64_t k, uint32_t* pairs);

// For a convolution with known weights that is a product (conv_step.h).
Step bf16_conv_step(Build& b, const ConvShape& shape);

}  // namespace gossamer
