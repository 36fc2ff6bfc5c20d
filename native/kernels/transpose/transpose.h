// y[j][i] = x[i][j] for elements of 32 bits: floats, or cells of four bytes.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

struct TransposeArgs {
  int64_t rows = 0, columns = 0;  // of x
  const float* x = nullptr;
  int64_t x_stride = 0;  // elements from one row to the next
  float* y = nullptr;
  int64_t y_stride = 0;
  int64_t begin = 0, end = 0;  // rows of x, the share of one thread
};

extern const Row<void (*)(const TransposeArgs&)> kTransposeKernels[kRowCount];

void transpose_portable(const TransposeArgs&);
void transpose_avx2(const TransposeArgs&);
void transpose_avx512(const TransposeArgs&);

}  // namespace gossamer
