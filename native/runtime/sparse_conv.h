// Convolution of float32 with weights many of which are zero.
#pragma once

#include "kernels/conv/conv.h"
#include "runtime/op.h"

namespace gossamer {

// The step that leaves zero weights out, or nothing: where too few are zero for it to take less than `dense_cycles`.
std::optional<Step> sparse_conv_step(Build& b, const ConvShape& shape, double dense_cycles);

}  // namespace gossamer
