// MatMulInteger with constant weights, one zero point for them and one for the rows: through kernels/qgemm.
#pragma once

#include "runtime/op.h"

namespace gossamer {

// Whether the node's second input and the zero points have that form.
bool has_integer_product(const Build& b);

Step integer_product_step(Build& b);

}  // namespace gossamer
