// Plain loops, the oracle of every row of kQgemmKernels: equal to the bit. Weights are n x (4 cells) here, not packed.
#pragma once

#include <cmath>

#include "kernels/integer/fixed_point.h"
#include "kernels/qgemm/qgemm.h"

namespace gossamer {

inline int32_t sum_reference(const QgemmArgs& g, int64_t pixel, int64_t channel) {
  uint32_t sum = g.edge.bias ? static_cast<uint32_t>(g.edge.bias[channel]) : 0;
  for (int64_t c = 0; c < g.cells; ++c) {
    for (int64_t j = 0; j < 4; ++j) {
      const int32_t x = g.a[g.pixel_offset[pixel] + g.cell_offset[c] + j], w = g.b[(channel * g.cells + c) * 4 + j];
      sum += static_cast<uint32_t>(x * w);
    }
  }
  return static_cast<int32_t>(sum);
}

// A clamp before rounding is a clamp after it, because the bounds are whole.
inline int32_t byte_reference(float t, const QgemmEdge& e) {
  const float low = static_cast<float>(e.least - e.zero), high = static_cast<float>(e.most - e.zero);
  t = t > low ? t : low;  // NaN too
  return static_cast<int32_t>(std::nearbyint(t < high ? t : high)) + e.zero;
}

inline void output_reference(const QgemmArgs& g, int64_t channel, int64_t at, int32_t sum) {
  const QgemmEdge& e = g.edge;
  if (e.output == QgemmOutput::sums) {
    static_cast<int32_t*>(g.y)[at] = sum;
  } else if (e.output == QgemmOutput::fixed_point) {
    const int32_t y = requantize(sum, e.multiplier[channel], e.right_shift[channel], e.zero, e.least, e.most);
    static_cast<uint8_t*>(g.y)[at] = static_cast<uint8_t>(y);
  } else {
    float t = std::fma(static_cast<float>(sum), e.scale[channel], e.shift ? e.shift[channel] : 0.0f);
    if (e.output == QgemmOutput::floats) {
      if (e.residual) t += static_cast<const float*>(e.residual)[at];
      static_cast<float*>(g.y)[at] = t < e.low ? e.low : t > e.high ? e.high : t;
      return;
    }
    if (e.residual) {
      const uint8_t byte = static_cast<const uint8_t*>(e.residual)[at];
      const int32_t r = e.residual_signed ? static_cast<int8_t>(byte) : byte;
      const float q = std::fma(static_cast<float>(r), e.residual_scale, e.residual_shift);
      if (e.rounds_mid) t = std::fmin(e.mid_high, std::fmax(e.mid_low, std::nearbyint(t)));
      t = std::fma(t, e.keep, q);
    }
    static_cast<uint8_t*>(g.y)[at] = static_cast<uint8_t>(byte_reference(t, e));
  }
}

inline void qgemm_reference(const QgemmArgs& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t n = 0; n < g.n; ++n) output_reference(g, n, i * g.y_pixel + n / 4 * g.y_cell + n % 4, sum_reference(g, i, n));
  }
}

}  // namespace gossamer
