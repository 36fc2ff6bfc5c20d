// Operators that read or write pixels at given places: GridSample and Col2Im.
#pragma once

#include "runtime/op.h"

namespace gossamer {

std::span<const Operator> sampling_operators();

}  // namespace gossamer
