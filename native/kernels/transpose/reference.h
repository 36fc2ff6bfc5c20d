// Plain loops, the oracle of every row of kTransposeKernels.
#pragma once

#include "kernels/transpose/transpose.h"

namespace gossamer {

inline void transpose_reference(const TransposeArgs& a) {
  for (int64_t i = a.begin; i < a.end; ++i)
    for (int64_t j = 0; j < a.columns; ++j) a.y[j * a.y_stride + i] = a.x[i * a.x_stride + j];
}

}  // namespace gossamer
