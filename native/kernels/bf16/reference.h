// Plain loops, the oracle of every row of kBf16Kernels. A and B are floats here, k counts elements: as gemm/reference.h.
#pragma once

#include <vector>

#include "kernels/bf16/bf16.h"
#include "kernels/gemm/reference.h"

namespace gossamer {

inline float bf16_reference(float x) { return __builtin_bit_cast(float, rounded_to_bf16(x) << 16); }

inline void bf16_gemm_reference(GemmArgs g) {
  std::vector<float> a(static_cast<size_t>(g.m * g.k)), b(g.b, g.b + g.k * g.n);
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t p = 0; p < g.k; ++p) a[static_cast<size_t>(i * g.k + p)] = bf16_reference(g.a[i * g.a_row + p * g.a_k]);
  for (float& x : b) x = bf16_reference(x);
  g.a = a.data();
  g.a_row = g.k;
  g.a_k = 1;
  g.b = b.data();
  gemm_reference(g);
}

}  // namespace gossamer
