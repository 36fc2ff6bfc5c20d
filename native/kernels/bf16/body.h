// The product of gemm/body.h with pairs for elements. Included once per instruction set, after simd/*.h, with kTile defined
// and multiply_pairs(a, b, sum): the sum and both products of the pairs.
#pragma once

#include "kernels/bf16/bf16.h"
#include "kernels/gemm/body.h"

namespace {

struct PairRight {
  const float* b;
  PairRight moved(int64_t pairs) const { return {b + pairs}; }
  void follow(int64_t) const {}
  V at(int64_t p, int64_t width, int64_t column) const { return V::load(b + p * width + column); }
  static V multiply(V a, V b, V sum) { return multiply_pairs(a, b, sum); }
};

}  // namespace
