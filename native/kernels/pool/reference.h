// Plain loops, the oracle of every row of kPoolKernels.
#pragma once

#include <limits>

#include "kernels/pool/pool.h"

namespace gossamer {

inline float pool_reference_one(const PoolArgs& a, const float* x, int64_t i, int64_t j) {
  double result = a.average ? 0 : -std::numeric_limits<double>::infinity();
  int64_t count = 0;
  for (int64_t u = 0; u < a.kernel_h; ++u) {
    for (int64_t v = 0; v < a.kernel_w; ++v) {
      const int64_t row = i * a.stride_h - a.pad_top + u * a.dilation_h;
      const int64_t column = j * a.stride_w - a.pad_left + v * a.dilation_w;
      if (row >= a.in_h + a.pad_bottom || column >= a.in_w + a.pad_right) continue;
      const bool padding = row < 0 || row >= a.in_h || column < 0 || column >= a.in_w;
      if (a.count_padding || !padding) ++count;
      if (padding) continue;
      const double value = x[row * a.in_w + column];
      if (a.average) result += value;
      else if (value != value || (result == result && value > result)) result = value;
    }
  }
  return static_cast<float>(a.average ? result / static_cast<double>(count) : result);
}

inline void pool_reference(const PoolArgs& a) {
  for (int64_t p = a.plane_begin; p < a.plane_end; ++p) {
    for (int64_t i = 0; i < a.out_h; ++i) {
      for (int64_t j = 0; j < a.out_w; ++j) {
        a.y[(p * a.out_h + i) * a.out_w + j] = pool_reference_one(a, a.x + p * a.in_h * a.in_w, i, j);
      }
    }
  }
}

}  // namespace gossamer
