// Included once per instruction set, after simd/*_int.h.
#pragma once

#include "kernels/bytes/bytes.h"

namespace {

void quantize(const gossamer::ByteQuantizeArgs& args) {
  const gossamer::ByteQuantizeArgs a = args;  // which no store of bytes can change
  const V scale = V::broadcast(a.scale);
  // Whole bounds: clamping before rounding is clamping after it, and no conversion overflows.
  const V low = V::broadcast(static_cast<float>((a.is_signed ? -128 : 0) - a.zero));
  const V high = V::broadcast(static_cast<float>((a.is_signed ? 127 : 255) - a.zero));
  const I zero = I::broadcast(a.zero);
  const auto byte = [&](V x) { return nearest(min_or_b(max_or_b(x / scale, low), high)) + zero; };
  int64_t i = 0;
  for (; i + V::kLanes <= a.n; i += V::kLanes) byte(V::load(a.x + i)).store_bytes(a.y + i);
  if (i == a.n) return;
  uint8_t rest[V::kLanes];
  byte(V::load(a.x + i, static_cast<int>(a.n - i))).store_bytes(rest);
  for (int64_t k = 0; i + k < a.n; ++k) a.y[i + k] = rest[k];
}

void dequantize_row(const gossamer::ByteDequantizeArgs& a, int64_t row) {
  const V scale = V::broadcast(a.scale), low = V::broadcast(a.low), high = V::broadcast(a.high);
  const I minus_zero = I::broadcast(-a.zero);
  const uint8_t* x = a.x + row * a.n;
  const float* residual = a.residual ? a.residual + row * a.n : nullptr;
  float* y = a.y + row * a.n;
  const auto vector = [](const float* p, int count) __attribute__((always_inline)) { return count == V::kLanes ? V::load(p) : V::load(p, count); };
  const auto number = [&](const uint8_t* bytes, int64_t j, int count) __attribute__((always_inline)) {
    const V other = residual ? vector(residual + j, count) : V::zero();
    const V t = fused(to_float(I::load_bytes(bytes, a.is_signed) + minus_zero), scale, a.bias ? vector(a.bias + j, count) : other);
    return min_or_b(high, max_or_b(low, a.bias ? t + other : t));
  };
  int64_t j = 0;
  for (; j + V::kLanes <= a.n; j += V::kLanes) number(x + j, j, V::kLanes).store(y + j);
  if (j == a.n) return;
  const int left = static_cast<int>(a.n - j);
  uint8_t rest[V::kLanes] = {};
  for (int k = 0; k < left; ++k) rest[k] = x[j + k];
  number(rest, j, left).store(y + j, left);
}

void dequantize(const gossamer::ByteDequantizeArgs& args) {
  const gossamer::ByteDequantizeArgs a = args;  // which no store of floats can change
  for (int64_t row = 0; row < a.rows; ++row) dequantize_row(a, row);
}

}  // namespace
