// Requantization in integers alone, as gemmlowp and the integer-only networks of Jacob et al. 2018 (section 2.2) define it.
// Plain functions of one number; docs/numerics.md, equations (8) to (10).
#pragma once

#include <cstdint>

namespace gossamer {

// a b 2^-31, rounded to the nearest, half up; saturates at -2^31 -2^31 (gemmlowp: SaturatingRoundingDoublingHighMul).
inline int32_t doubling_high_multiply(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  return static_cast<int32_t>((int64_t{a} * b + (int64_t{1} << 30)) >> 31);
}

// x 2^-shift, rounded to the nearest, half away from zero; 0 <= shift <= 31 (gemmlowp: RoundingDivideByPOT).
inline int32_t rounding_shift_right(int32_t x, int shift) {
  const int64_t mask = (int64_t{1} << shift) - 1;
  return static_cast<int32_t>((x >> shift) + ((x & mask) > (mask >> 1) + (x < 0) ? 1 : 0));
}

// x 2^shift, saturating; 0 <= shift <= 31.
inline int32_t saturating_shift_left(int32_t x, int shift) {
  const int64_t wide = int64_t{x} * (int64_t{1} << shift);
  return static_cast<int32_t>(wide < INT32_MIN ? INT32_MIN : wide > INT32_MAX ? INT32_MAX : wide);
}

// x multiplier 2^(-31 - right_shift).
inline int32_t fixed_point_multiply(int32_t x, int32_t multiplier, int right_shift) {
  const int left = right_shift < 0 ? -right_shift : 0, right = right_shift > 0 ? right_shift : 0;
  return rounding_shift_right(doubling_high_multiply(saturating_shift_left(x, left), multiplier), right);
}

// ... + zero, clamped.
inline int32_t requantize(int32_t x, int32_t multiplier, int right_shift, int32_t zero, int32_t least, int32_t most) {
  const int64_t y = int64_t{fixed_point_multiply(x, multiplier, right_shift)} + zero;
  return static_cast<int32_t>(y < least ? least : y > most ? most : y);
}

}  // namespace gossamer
