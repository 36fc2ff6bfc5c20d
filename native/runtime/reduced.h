// Which dimensions a reduction takes together; shared by the float32 kernels and the plain loops for all else.
#pragma once

#include "runtime/op.h"

namespace gossamer {

std::vector<bool> reduced_dimensions(const Build& b);
Step build_typed_reduce(Build& b);

}  // namespace gossamer
