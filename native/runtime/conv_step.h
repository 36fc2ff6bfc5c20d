// The step of a convolution in float32: which of the ways to compute it is taken, by rule or by measurement.
#pragma once

#include "kernels/conv/conv.h"
#include "runtime/op.h"

namespace gossamer {

// For a node whose inputs are x, known weights and perhaps a bias, with all of Build's epilogue.
Step conv_step(Build& b, const ConvShape& shape);

// Whether a convolution is a product with its input as it lies: by single pixels, without strides, padding or groups.
bool is_product(const ConvShape& shape);

// A convolution by single pixels does not care where rows end: fewer and longer ones leave fewer ragged ends. Merges rows of
// such a shape, and leaves others as they are.
void merge_rows(ConvShape& shape);

}  // namespace gossamer
