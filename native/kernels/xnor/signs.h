// Floats to words of signs. Included once per instruction set, after simd/*_int.h, with
//   signs_of(x, limit): the bits of a vector, the first lane's lowest;  marked(x, limit, bit): bit in each lane that has it
#pragma once

#include "kernels/xnor/xnor.h"

namespace {

void sign_row(const gossamer::SignRowArgs& a) {
  const V limit = V::broadcast(a.limit);
  for (int64_t begin = 0; begin < a.count; begin += 32) {
    uint32_t word = 0;
    for (int lane = 0; lane < 32 && begin + lane < a.count; lane += V::kLanes) {
      const float* x = a.x + begin + lane;
      const int64_t left = a.count - begin - lane;
      if (left >= V::kLanes) word |= signs_of(V::load(x), limit) << lane;
      else word |= (signs_of(V::load(x, static_cast<int>(left)), limit) & ((1u << left) - 1u)) << lane;
    }
    a.to[begin / 32] = static_cast<int32_t>(word);
  }
}

void sign_planes(const gossamer::SignPlanesArgs& a) {
  const V limit = V::broadcast(a.limit);
  for (int64_t p = 0; p < a.pixels; p += V::kLanes) {
    const int64_t left = a.pixels - p;
    const int lanes = static_cast<int>(left < V::kLanes ? left : V::kLanes);
    I word = I::zero();
    for (int64_t c = 0; c < a.channels; ++c) {
      const float* x = a.x + c * a.stride + p;
      const I bit = I::broadcast(static_cast<int32_t>(1u << c));
      word = word + marked(lanes == V::kLanes ? V::load(x) : V::load(x, lanes), limit, bit);
    }
    if (lanes == V::kLanes) word.store(a.to + p);
    else word.store(a.to + p, lanes);
  }
}

}  // namespace
