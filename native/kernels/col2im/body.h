// Included once per instruction set, after simd/*.h.
#pragma once

#include "kernels/col2im/col2im.h"
#include "kernels/simd/clamp.h"

namespace {

// to[t] += from[t], t in [0, n).
inline void add_to(const float* from, int64_t n, float* to) {
  int64_t t = 0;
  for (; t + V::kLanes <= n; t += V::kLanes) (V::load(to + t) + V::load(from + t)).store(to + t);
  const int left = static_cast<int>(n - t);
  if (left > 0) (V::load(to + t, left) + V::load(from + t, left)).store(to + t, left);
}

// Row i of the outputs of a channel, into scratch memory. column: the channel's first.
void add_row(const gossamer::Col2imArgs& a, const float* column, int64_t i, int64_t phase_width) {
  for (int64_t t = 0; t < a.stride_w * phase_width; ++t) a.scratch[t] = 0;
  for (int64_t u = 0; u < a.kernel_h; ++u) {
    const int64_t from = i + a.pad_top - u * a.dilation_h, r = from / a.stride_h;
    if (from < 0 || from % a.stride_h != 0 || r >= a.in_h) continue;
    for (int64_t v = 0; v < a.kernel_w; ++v) {
      const int64_t shift = v * a.dilation_w;
      float* to = a.scratch + shift % a.stride_w * phase_width + shift / a.stride_w;
      add_to(column + ((u * a.kernel_w + v) * a.in_h + r) * a.in_w, a.in_w, to);
    }
  }
}

// y[j], j = first, first + step, ..., from neighbours in scratch memory.
void finish_row(const gossamer::Col2imArgs& a, const float* sums, float bias, int64_t first, float* y) {
  const V low = V::broadcast(a.low), high = V::broadcast(a.high), b = V::broadcast(bias);
  const int64_t n = (a.out_w - first + a.stride_w - 1) / a.stride_w;
  for (int64_t t = 0; t < n; t += V::kLanes) {
    const int left = static_cast<int>(n - t < V::kLanes ? n - t : V::kLanes);
    const V x = clamp(V::load(sums + t, left) + b, low, high);
    if (a.stride_w == 1) {
      x.store(y + t, left);
      continue;
    }
    float lanes[V::kLanes];
    x.store(lanes);
    for (int l = 0; l < left; ++l) y[first + (t + l) * a.stride_w] = lanes[l];
  }
}

void col2im(const gossamer::Col2imArgs& a) {
  const int64_t phase_width = gossamer::col2im_phase(a);
  for (int64_t o = a.channel_begin; o < a.channel_end; ++o) {
    const float* column = a.columns + o * a.kernel_h * a.kernel_w * a.in_h * a.in_w;
    for (int64_t i = 0; i < a.out_h; ++i) {
      add_row(a, column, i, phase_width);
      float* y = a.y + (o * a.out_h + i) * a.out_w;
      for (int64_t first = 0; first < a.stride_w && first < a.out_w; ++first) {
        const int64_t at = first + a.pad_left;
        finish_row(a, a.scratch + at % a.stride_w * phase_width + at / a.stride_w, a.bias ? a.bias[o] : 0.0f, first, y);
      }
    }
  }
}

}  // namespace
