// Plain loops, the oracle of every row: equal to the bit.
#pragma once

#include <cmath>

#include "kernels/bytes/bytes.h"

namespace gossamer {

inline void byte_quantize_reference(const ByteQuantizeArgs& a) {
  const float low = static_cast<float>((a.is_signed ? -128 : 0) - a.zero), high = static_cast<float>((a.is_signed ? 127 : 255) - a.zero);
  for (int64_t i = 0; i < a.n; ++i) {
    const float t = a.x[i] / a.scale, bounded = t > low ? (t < high ? t : high) : low;
    a.y[i] = static_cast<uint8_t>(static_cast<int>(std::nearbyint(bounded)) + a.zero);
  }
}

inline void byte_dequantize_reference(const ByteDequantizeArgs& a) {
  for (int64_t i = 0; i < a.rows * a.n; ++i) {
    const int q = a.is_signed ? static_cast<int8_t>(a.x[i]) : a.x[i];
    const float residual = a.residual ? a.residual[i] : 0;
    float x = std::fma(static_cast<float>(q - a.zero), a.scale, a.bias ? a.bias[i % a.n] : residual);
    if (a.bias && a.residual) x += residual;
    a.y[i] = x < a.low ? a.low : x > a.high ? a.high : x;
  }
}

}  // namespace gossamer
