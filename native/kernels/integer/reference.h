// Plain loops, the oracle of every row of kRequantizeKernels: equal to the bit.
#pragma once

#include "kernels/integer/fixed_point.h"
#include "kernels/integer/integer.h"
#include "kernels/integer/requantize.h"

namespace gossamer {

inline int32_t integer_at(const void* p, IntegerType type, int64_t i) {
  switch (type) {
    case IntegerType::int16: return static_cast<const int16_t*>(p)[i];
    case IntegerType::int8: return static_cast<const int8_t*>(p)[i];
    case IntegerType::uint8: return static_cast<const uint8_t*>(p)[i];
    default: return static_cast<const int32_t*>(p)[i];
  }
}

inline void put_integer(int32_t value, void* p, IntegerType type, int64_t i) {
  switch (type) {
    case IntegerType::int16: static_cast<int16_t*>(p)[i] = static_cast<int16_t>(value); return;
    case IntegerType::int8:
    case IntegerType::uint8: static_cast<uint8_t*>(p)[i] = static_cast<uint8_t>(value); return;
    default: static_cast<int32_t*>(p)[i] = value;
  }
}

inline void requantize_reference(const RequantizeArgs& a) {
  for (int64_t line = a.line_begin; line < a.line_end; ++line) {
    for (int64_t j = 0; j < a.n; ++j) {
      const int64_t at = line * a.n + j, channel = a.by_column ? j : line % a.channels;
      const int32_t x = saturated_int32(int64_t{integer_at(a.x, a.from, at)} - a.x_zero);
      put_integer(requantize(x, a.multiplier[channel], a.right_shift[channel], a.zero, a.low, a.high), a.y, a.to, at);
    }
  }
}

}  // namespace gossamer
