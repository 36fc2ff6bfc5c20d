// Operators of sound: windows, Fourier transforms, mel filters.
#pragma once

#include "runtime/op.h"

namespace gossamer {

std::span<const Operator> signal_operators();

}  // namespace gossamer
