// From sums whose lanes are output channels to planes. Included once per instruction set, after simd/*.h.
#pragma once

#include "kernels/conv/conv.h"
#include "kernels/simd/clamp.h"

namespace {

// The first n lanes, in one instruction where it is all of them.
inline V load_some(const float* p, int n) { return n == V::kLanes ? V::load(p) : V::load(p, n); }
inline void store_some(V x, float* p, int n) {
  if (n == V::kLanes) x.store(p);
  else x.store(p, n);
}

// y = clamp(sums + bias + residual) of `pixels` neighbouring pixels by `channels` (at most kLanes) output channels from
// `channel` on. sums: a vector of channels every `stride` floats; as many are read as fill the last vector of pixels.
// `at`: the first pixel's place in y.
inline void store_pixels(const gossamer::ConvArgs& a, const float* sums, int64_t stride, int64_t channel, int channels, int64_t at,
                         int64_t pixels) {
  const V low = V::broadcast(a.low), high = V::broadcast(a.high);
  const V bias = a.bias ? load_some(a.bias + channel, channels) : V::zero();
  for (int64_t j = 0; j < pixels; j += V::kLanes, sums += V::kLanes * stride) {
    V rows[V::kLanes];
    for (int t = 0; t < V::kLanes; ++t) rows[t] = V::load(sums + t * stride) + bias;
    transpose(rows);
    const int n = static_cast<int>(pixels - j < V::kLanes ? pixels - j : V::kLanes);
    for (int c = 0; c < channels; ++c) {
      const int64_t to = at + c * a.shape.pixels() + j;
      const V x = a.residual ? rows[c] + load_some(a.residual + to, n) : rows[c];
      store_some(clamp(x, low, high), a.y + to, n);
    }
  }
}

}  // namespace
