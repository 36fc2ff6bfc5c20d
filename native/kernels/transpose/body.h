// Square blocks of one vector's lanes, transposed in registers. Included once per instruction set, after simd/*.h.
#pragma once

#include "kernels/transpose/transpose.h"

namespace {

inline void transpose_block(const gossamer::TransposeArgs& a, int64_t i, int64_t j, int rows, int columns) {
  V lines[V::kLanes];
  for (int r = 0; r < V::kLanes; ++r) {
    const float* x = a.x + (i + r) * a.x_stride + j;
    lines[r] = r >= rows ? V::zero() : columns == V::kLanes ? V::load(x) : V::load(x, columns);
  }
  transpose(lines);
  for (int c = 0; c < columns; ++c) {
    float* y = a.y + (j + c) * a.y_stride + i;
    if (rows == V::kLanes) lines[c].store(y);
    else lines[c].store(y, rows);
  }
}

inline int at_most_lanes(int64_t n) { return n < V::kLanes ? static_cast<int>(n) : V::kLanes; }

inline void transpose_all(const gossamer::TransposeArgs& a) {
  for (int64_t i = a.begin; i < a.end; i += V::kLanes) {
    for (int64_t j = 0; j < a.columns; j += V::kLanes) {
      transpose_block(a, i, j, at_most_lanes(a.end - i), at_most_lanes(a.columns - j));
    }
  }
}

}  // namespace
