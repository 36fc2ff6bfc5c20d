// Plain loops, the oracle of every row: equal to the bit. What a float16 is worth is written down as the standard says it;
// the one for a float is the nearest of all 2^16.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/half/half.h"

namespace gossamer {

inline double half_reference(unsigned half) {
  const unsigned exponent = half >> 10 & 31, fraction = half & 1023;
  const double size = exponent == 31 ? (fraction ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity())
                      : exponent     ? std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25)
                                     : std::ldexp(fraction, -24);
  return half >> 15 ? -size : size;
}

inline void half_to_float_reference(const HalfToFloatArgs& a) {
  for (int64_t i = 0; i < a.n; ++i) a.y[i] = static_cast<float>(half_reference(a.x[i]));
}

// The positive ones are in the order of their bits: the last that is not above x, or the next one.
inline unsigned nearest_half(double x) {
  if (x >= 65520) return 0x7c00;
  unsigned below = 0;
  for (unsigned bit = 0x4000; bit; bit >>= 1) {
    if (below + bit < 0x7c00 && half_reference(below + bit) <= x) below += bit;
  }
  const double next = below == 0x7bff ? 65536 : half_reference(below + 1);
  const double down = x - half_reference(below), up = next - x;
  return up < down || (up == down && below % 2) ? below + 1 : below;
}

inline void float_to_half_reference(const FloatToHalfArgs& a) {
  for (int64_t i = 0; i < a.n; ++i) {
    const unsigned sign = std::signbit(a.x[i]) ? 0x8000 : 0;
    a.y[i] = static_cast<uint16_t>(sign | (a.x[i] != a.x[i] ? 0x7e00 : nearest_half(std::fabs(a.x[i]))));
  }
}

}  // namespace gossamer
