// Plain loops, the oracle of every row of kGemmKernels. B is row-major k x n here, not packed.
#pragma once

#include "kernels/gemm/gemm.h"

namespace gossamer {

inline float clamp_reference(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

inline void gemm_reference(const GemmArgs& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < g.k; ++p) sum += double{g.a[i * g.a_row + p * g.a_k]} * g.b[p * g.n + j];
      if (g.row_bias) sum += g.row_bias[i];
      if (g.column_bias) sum += g.column_bias[j];
      if (g.residual) sum += g.residual[i * g.c_stride + j];
      g.c[i * g.c_stride + j] = clamp_reference(static_cast<float>(sum), g.low, g.high);
    }
  }
}

}  // namespace gossamer
