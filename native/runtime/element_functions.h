// Operators of float32 elements as the kernels of kernels/elementwise know them.
#pragma once

#include <optional>

#include "kernels/elementwise/elementwise.h"
#include "runtime/op.h"

namespace gossamer {

// Nothing where the operator is not one of them.
std::optional<Unary> unary_of(const Node& node);
std::optional<Binary> binary_of(const Node& node);

// The function with the parameters that are attributes.
UnaryArgs unary_args(const Node& node, Unary function);

}  // namespace gossamer
