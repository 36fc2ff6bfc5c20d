// Plain loops, the oracle of every row of kSparseKernels.
#pragma once

#include "kernels/gemm/reference.h"
#include "kernels/sparse/sparse.h"

namespace gossamer {

inline int64_t sparse_index(const void* p, int bytes, int64_t i) {
  if (bytes == 1) return static_cast<const uint8_t*>(p)[i];
  return bytes == 2 ? static_cast<const uint16_t*>(p)[i] : static_cast<const uint32_t*>(p)[i];
}

inline void sparse_reference(const SparseArgs& a) {
  for (int64_t i = 0; i < a.batch; ++i) {
    for (int64_t row = a.row_begin; row < a.row_end; ++row) {
      double sum = a.bias ? a.bias[row] : 0.0f;
      for (int64_t j = a.w.starts[row]; j < a.w.starts[row + 1]; ++j) {
        const double value = a.w.values[a.w.codes ? sparse_index(a.w.codes, a.w.code_bytes, j) : j];
        sum += value * a.x[i * a.w.columns + sparse_index(a.w.indices, a.w.index_bytes, j)];
      }
      if (a.residual) sum += a.residual[i * a.w.rows + row];
      a.y[i * a.w.rows + row] = clamp_reference(static_cast<float>(sum), a.low, a.high);
    }
  }
}

}  // namespace gossamer
