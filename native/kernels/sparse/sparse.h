// Fully connected layer with a pruned weight matrix:  y[i, o] = clamp(b[o] + r[i, o] + sum over j of v_j x[i, c_j],
// low, high), j over the kept weights of row o. Zero weights are neither stored nor visited, so an infinity or NaN in x at a
// pruned weight does not reach y (docs/numerics.md, section 4). Error: equation (4) with k = kept weights of the row.
//
// Weights are compressed sparse rows, out x in; a kept value is a float, or a code into a table of centroids.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

struct SparseMatrix {
  int64_t rows = 0, columns = 0;
  const uint32_t* starts = nullptr;  // rows + 1
  const void* indices = nullptr;  // column of each kept weight, increasing within a row
  int index_bytes = 2;  // 2 or 4
  const float* values = nullptr;  // one per kept weight, or, with codes, the centroids
  const void* codes = nullptr;  // none: values are the weights themselves
  int code_bytes = 1;  // 1 or 2
  int centroid_count = 0;
};

struct SparseArgs {
  SparseMatrix w;
  int64_t batch = 0;
  const float* x = nullptr;  // batch x columns
  const float* bias = nullptr;  // rows, or none
  const float* residual = nullptr;  // like y, or none; may be y itself
  float* y = nullptr;  // batch x rows
  float low = 0, high = 0;
  float* scratch = nullptr;  // columns * kSparseLanes floats, for this thread alone
  int64_t row_begin = 0, row_end = 0;  // the share of one thread
};

// At most so many images are transposed and multiplied at a time.
inline constexpr int64_t kSparseLanes = 16;

extern const Row<void (*)(const SparseArgs&)> kSparseKernels[kRowCount];

void sparse_portable(const SparseArgs&);
void sparse_avx2(const SparseArgs&);
void sparse_avx512(const SparseArgs&);

}  // namespace gossamer
