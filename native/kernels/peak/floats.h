// A chain of fused multiply-adds on the vector type of simd/*.h.
#pragma once

#include "kernels/peak/body.h"

namespace {

struct FloatChain {
  static constexpr int kProducts = V::kLanes;
  struct Factors {
    V x, y;
    Factors(int a, int b) : x(V::broadcast(static_cast<float>(a))), y(V::broadcast(static_cast<float>(b))) {}
  };
  V value = V::zero();

  void step(Factors& f) {
    GOSSAMER_OPAQUE(f.x.v);  // where a product and a sum are two instructions, each chain has its own product
    value = fma(f.x, f.y, value);
  }
  double sum() const { return value.sum(); }
};

}  // namespace
