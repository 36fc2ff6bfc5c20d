// Requantization of a tensor of integers by fixed-point multipliers, docs/numerics.md, equations (9) and (10):
//   y = clamp(sat(x - x_zero) multiplier 2^(-31 - right_shift) + zero, low, high)
// over lines of n numbers. Line l has the multiplier and shift of channel l % channels, or `by_column` element j of every
// line those of channel j. Every row gives the same bits.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

enum class IntegerType { int32, int16, int8, uint8 };
inline constexpr IntegerType kLastIntegerType = IntegerType::uint8;

struct RequantizeArgs {
  int64_t n = 0, channels = 1;
  bool by_column = false;
  IntegerType from = IntegerType::int32, to = IntegerType::int32;  // from: not int16
  const void* x = nullptr;  // of line 0
  int32_t x_zero = 0;
  const int32_t* multiplier = nullptr;  // channels
  const int32_t* right_shift = nullptr;  // channels; -31 .. 31
  int32_t zero = 0, low = INT32_MIN, high = INT32_MAX;
  void* y = nullptr;  // of line 0; may be x where the types are equally wide
  int64_t line_begin = 0, line_end = 0;  // the share of one thread
};

extern const Row<void (*)(const RequantizeArgs&)> kRequantizeKernels[kRowCount];

void requantize_portable(const RequantizeArgs&);
void requantize_avx2(const RequantizeArgs&);
void requantize_avx512(const RequantizeArgs&);

}  // namespace gossamer
