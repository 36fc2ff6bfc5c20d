// Convolution of float32 with weights many of which are zero.
#pragma once

#include "kernels/conv/conv.h"
#include "runtime/op.h"

namespace gossamer {

// An estimate of what the step below would take, in cycles as in kernels/conv/method.h. Nothing where it is of no use: where
// too few weights are zero, or where what it starts from is not known.
std::optional<double> sparse_conv_cycles(const Build& b, const ConvShape& shape);

// The step that leaves zero weights out.
Step sparse_conv_step(Build& b, const ConvShape& shape);

}  // namespace gossamer
