// MatMulInteger with constant weights, one zero point for them and one for the rows: through kernels/qgemm, with the bias
// (int32) and the Requantize that follow it.
#pragma once

#include "runtime/op.h"

namespace gossamer {

// Whether the node's second input and the zero points have that form.
bool has_integer_product(const Node& node, const Model& model, const std::vector<const ValueInfo*>& inputs);

// Whether sums come out of the kernel whole, so that it may requantize them: its weights, seen as signed bytes, have no zero
// point. Of a node that has_integer_product.
bool may_requantize(const std::vector<const ValueInfo*>& inputs);

Step integer_product_step(Build& b);

}  // namespace gossamer
