// Plain loops, the oracle of every row of kXnorKernels. B and the mask are rows of words here, (n, words), not packed.
#pragma once

#include <cmath>

#include "kernels/xnor/xnor.h"
#include "kernels/gemm/reference.h"

namespace gossamer {

inline void xnor_reference(const XnorArgs& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      int64_t sum = g.bits[j];
      for (int64_t w = 0; w < g.words; ++w) {
        const uint32_t counted = g.mask ? static_cast<uint32_t>(g.mask[j * g.words + w]) : ~0u;
        const uint32_t differ = static_cast<uint32_t>(g.a[i * g.words + w] ^ g.b[j * g.words + w]) & counted;
        for (int bit = 0; bit < 32; ++bit) sum -= 2 * (differ >> bit & 1u);
      }
      const float scale = g.row_scale ? g.row_scale[i] : g.column_scale[j];
      const float bias = g.row_bias ? g.row_bias[i] : g.column_bias ? g.column_bias[j] : 0.0f;
      float y = std::fma(static_cast<float>(sum), scale, bias);
      if (g.residual) y += g.residual[i * g.c_stride + j];
      g.c[i * g.c_stride + j] = clamp_reference(y, g.low, g.high);
    }
  }
}

inline void sign_row_reference(const SignRowArgs& a) {
  for (int64_t w = 0; w < sign_words(a.count); ++w) a.to[w] = 0;
  for (int64_t i = 0; i < a.count; ++i) a.to[i / 32] |= static_cast<int32_t>(uint32_t{a.x[i] >= a.limit} << (i % 32));
}

inline void sign_planes_reference(const SignPlanesArgs& a) {
  for (int64_t p = 0; p < a.pixels; ++p) {
    uint32_t word = 0;
    for (int64_t c = 0; c < a.channels; ++c) word |= uint32_t{a.x[c * a.stride + p] >= a.limit} << c;
    a.to[p] = static_cast<int32_t>(word);
  }
}

}  // namespace gossamer
