// For instruction sets without products of bfloat16: pairs multiplied as float32, and rounding, which the compiler makes
// vectors of. After simd/*.h.
#pragma once

#include "kernels/bf16/bf16.h"

namespace {

inline V multiply_pairs(V a, V b, V sum) { return fma(upper_half(a), upper_half(b), fma(lower_half(a), lower_half(b), sum)); }

template <int kStep>
inline void round_pairs(const gossamer::Bf16Round& r) {
  const float *even = r.even, *odd = r.odd;
  for (int64_t i = 0; i < r.count; ++i) {
    r.to[i] = gossamer::rounded_to_bf16(even[i * kStep]) | gossamer::rounded_to_bf16(odd[i * kStep]) << 16;
  }
}

void round_bf16(const gossamer::Bf16Round& r) {
  if (!r.odd) {
    for (int64_t i = 0; i < r.count; ++i) r.to[i] = gossamer::rounded_to_bf16(r.even[i * r.step]);
    return;
  }
  r.step == 1 ? round_pairs<1>(r) : round_pairs<2>(r);
}

}  // namespace
