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

void dequantize(const gossamer::ByteDequantizeArgs& a) {
  const V scale = V::broadcast(a.scale);
  const I minus_zero = I::broadcast(-a.zero);
  const auto number = [&](const uint8_t* x) { return to_float(I::load_bytes(x, a.is_signed) + minus_zero) * scale; };
  int64_t i = 0;
  for (; i + V::kLanes <= a.n; i += V::kLanes) number(a.x + i).store(a.y + i);
  if (i == a.n) return;
  uint8_t rest[V::kLanes] = {};
  for (int64_t k = 0; i + k < a.n; ++k) rest[k] = a.x[i + k];
  number(rest).store(a.y + i, static_cast<int>(a.n - i));
}

}  // namespace
