// Plain loops, exponentials in double precision.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention_rows/attention_rows.h"

namespace gossamer {

inline float row_sum_reference(const RowSums& a, int64_t i, int64_t j) {
  const float t = static_cast<float>(a.sums[i * a.n + j] + a.start[i]) * a.product;
  return a.scale * (a.rounds ? std::nearbyint(std::fmin(std::fmax(t, a.low), a.high)) : t);
}

inline void byte_sums_reference(const ByteSumsArgs& a) {
  for (int64_t i = 0; i < a.rows; ++i) {
    int32_t sum = 0;
    for (int64_t j = 0; j < a.n; ++j) {
      const uint8_t x = a.x[i * a.stride + j];
      sum += a.is_signed ? static_cast<int8_t>(x) : x;
    }
    a.y[i] = a.start + a.factor * sum;
  }
}

inline void byte_softmax_reference(const ByteSoftmaxArgs& a) {
  for (int64_t i = 0; i < a.x.rows; ++i) {
    std::vector<double> e;
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < a.x.n; ++j) {
      e.push_back(double{row_sum_reference(a.x, i, j)} + (a.mask ? a.mask[i * a.mask_row + j * a.mask_column] : 0.0f));
      largest = std::fmax(largest, e.back());
    }
    for (double& x : e) sum += x = std::exp(x - largest);
    for (int64_t j = 0; j < a.y_stride; ++j) {
      const double t = j < a.x.n ? std::nearbyint(e[static_cast<size_t>(j)] / sum / double{a.y_scale}) + a.y_zero : 0;
      a.y[i * a.y_stride + j] = static_cast<uint8_t>(t > 0 ? std::fmin(t, 255) : 0);
    }
  }
}

inline void sum_rows_reference(const SumRowsArgs& a) {
  for (int64_t i = 0; i < a.x.rows; ++i)
    for (int64_t j = 0; j < a.x.n; ++j) a.y[i * a.y_stride + j] = row_sum_reference(a.x, i, j);
}

}  // namespace gossamer
