// Included once per instruction set, after simd/*_int.h.
#pragma once

#include <cstring>

#include "kernels/integer/requantize.h"

namespace {

using gossamer::IntegerType;

inline I load_numbers(const void* x, IntegerType type, int64_t at, int count) {
  if (type == IntegerType::int32) {
    const int32_t* p = static_cast<const int32_t*>(x) + at;
    return count == I::kLanes ? I::load(p) : I::load(p, count);
  }
  const uint8_t* p = static_cast<const uint8_t*>(x) + at;
  uint8_t part[I::kLanes] = {};
  if (count < I::kLanes) {
    for (int i = 0; i < count; ++i) part[i] = p[i];
    p = part;
  }
  return I::load_bytes(p, type == IntegerType::int8);
}

inline void store_numbers(I y, void* to, IntegerType type, int64_t at, int count) {
  if (type == IntegerType::int32) {
    int32_t* p = static_cast<int32_t*>(to) + at;
    return count == I::kLanes ? y.store(p) : y.store(p, count);
  }
  if (type == IntegerType::int16) {
    int32_t lanes[I::kLanes];
    y.store(lanes);
    for (int i = 0; i < count; ++i) static_cast<int16_t*>(to)[at + i] = static_cast<int16_t>(lanes[i]);
    return;
  }
  uint8_t* p = static_cast<uint8_t*>(to) + at;
  if (count == I::kLanes) return y.store_bytes(p);
  uint8_t part[I::kLanes];
  y.store_bytes(part);
  for (int i = 0; i < count; ++i) p[i] = part[i];
}

// x + by without overflow: x is held to where there is none.
struct Saturating {
  I least, most, by;
  explicit Saturating(int64_t number)
      : least(I::broadcast(static_cast<int32_t>(number < 0 ? INT32_MIN - number : INT32_MIN))),
        most(I::broadcast(static_cast<int32_t>(number > 0 ? INT32_MAX - number : INT32_MAX))),
        by(I::broadcast(static_cast<int32_t>(static_cast<uint32_t>(number)))) {}  // 2^31 wraps around, as the sum then does
  I operator()(I x) const { return min(max(x, least), most) + by; }
};

void requantize(const gossamer::RequantizeArgs& args) {
  const gossamer::RequantizeArgs a = args;  // which no store of bytes can change
  const Saturating taken(-int64_t{a.x_zero}), added(a.zero);
  const I low = I::broadcast(a.low), high = I::broadcast(a.high);
  for (int64_t line = a.line_begin; line < a.line_end; ++line) {
    const int64_t channel = line % a.channels;
    for (int64_t j = 0; j < a.n; j += I::kLanes) {
      const int count = a.n - j < I::kLanes ? static_cast<int>(a.n - j) : I::kLanes;
      const I multiplier = a.by_column ? load_numbers(a.multiplier, IntegerType::int32, j, count) : I::broadcast(a.multiplier[channel]);
      const I right_shift = a.by_column ? load_numbers(a.right_shift, IntegerType::int32, j, count) : I::broadcast(a.right_shift[channel]);
      const I x = taken(load_numbers(a.x, a.from, line * a.n + j, count));
      const I y = min(max(added(fixed_point(x, multiplier, right_shift)), low), high);
      store_numbers(y, a.y, a.to, line * a.n + j, count);
    }
  }
}

}  // namespace
