// Plain loops in double precision, the oracle of the tables of rows.h.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/rows/rows.h"

namespace gossamer {

inline void softmax_reference(const SoftmaxArgs& s) {
  for (int64_t at = 0; at < s.outer * s.inner; ++at) {
    const int64_t first = at / s.inner * s.n * s.inner + at % s.inner;
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t i = 0; i < s.n; ++i) largest = std::fmax(largest, s.x[first + i * s.inner]);
    for (int64_t i = 0; i < s.n; ++i) sum += std::exp(s.x[first + i * s.inner] - largest);
    for (int64_t i = 0; i < s.n; ++i) {
      const double shifted = s.x[first + i * s.inner] - largest;
      s.y[first + i * s.inner] = static_cast<float>(s.logarithm ? shifted - std::log(sum) : std::exp(shifted) / sum);
    }
  }
}

inline void reduce_reference(const ReduceArgs& r) {
  for (int64_t at = 0; at < r.outer * r.inner; ++at) {
    const float* x = r.x + at / r.inner * r.n * r.inner + at % r.inner;
    const bool extreme = r.op == Reduction::max || r.op == Reduction::min;
    double result = extreme ? x[0] : 0;
    for (int64_t i = 0; i < r.n; ++i) {
      const double v = x[i * r.inner];
      if (!extreme) result += r.op == Reduction::sum_of_absolutes ? std::fabs(v) : r.op == Reduction::sum_of_squares ? v * v : v;
      else if (v != v || (result == result && (r.op == Reduction::max ? v > result : v < result))) result = v;
    }
    r.y[at] = static_cast<float>(r.op == Reduction::mean ? result / static_cast<double>(r.n) : result);
  }
}

inline void layer_norm_reference(const LayerNormArgs& a) {
  for (int64_t row = 0; row < a.outer; ++row) {
    const float* x = a.x + row * a.n;
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < a.n && a.centered; ++i) mean += x[i] / static_cast<double>(a.n);
    for (int64_t i = 0; i < a.n; ++i) variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(a.n);
    for (int64_t i = 0; i < a.n; ++i) {
      const double y = (x[i] - mean) / std::sqrt(variance + a.epsilon) * a.scale[i / a.area] + (a.shift ? a.shift[i / a.area] : 0);
      a.y[row * a.n + i] = static_cast<float>(y);
    }
  }
}

}  // namespace gossamer
