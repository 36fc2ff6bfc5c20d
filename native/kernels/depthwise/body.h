// Included once per instruction set, after simd/*.h.
#pragma once

#include <type_traits>

#include "kernels/depthwise/depthwise.h"
#include "kernels/simd/clamp.h"
#include "kernels/simd/unrolled.h"

namespace {

constexpr int kMostRows = 4;  // rows of outputs at a time

// One plane of outputs: what a band of inputs is turned into.
struct Plane {
  const gossamer::ConvShape& shape;
  const float* weights;
  float bias, low, high;
  const float* residual;  // or none
  float* y;
};

inline void finish(const Plane& p, V sum, int64_t at, int n) {
  const bool whole = n >= V::kLanes;
  if (p.residual) sum = sum + (whole ? V::load(p.residual + at) : V::load(p.residual + at, n));
  sum = clamp(sum, V::broadcast(p.low), V::broadcast(p.high));
  if (whole) sum.store(p.y + at);
  else sum.store(p.y + at, n);
}

// --- kernels whose size is known here: read from the plane itself, border by masks -------------------------------------

// A plane of inputs, and a row of zeros that stands for the rows of its border.
struct Input {
  const float* x;
  const float* zeros;
};

template <int kStride>
using LanesOf = std::conditional_t<kStride == 1, V::Lanes, V::EvenLanes>;

// The lanes of outputs [column, column + kLanes) whose input at column j kStride + offset exists.
template <int kStride>
inline LanesOf<kStride> lanes_inside(int64_t column, int64_t offset, int64_t in_w) {
  const int64_t first = column * kStride + offset, left = in_w - first;
  if constexpr (kStride == 1) return V::lanes(-first, left);
  else return V::even_lanes(first < 0 ? (1 - first) / 2 : 0, (left + 1) / 2);
}

template <int kStride>
inline V load_lanes(const float* p, LanesOf<kStride> lanes) {
  if constexpr (kStride == 1) return V::load(p, lanes);
  else return V::load_even(p, lanes);
}

// The weights of a plane: in registers where there are enough of them.
template <int kSize>
struct Taps {
  static constexpr bool kHeld = kSize == 3 && V::kLanes == 16;
  const float* weights;
  V held[kHeld ? kSize * kSize : 1];

  explicit Taps(const float* w) : weights(w) {
    if constexpr (kHeld) unrolled<kSize * kSize>([&](auto i) __attribute__((always_inline)) { held[i] = V::broadcast(w[i]); });
  }
  V operator[](int i) const {
    if constexpr (kHeld) return held[i];
    else return V::broadcast(weights[i]);
  }
};

// kRows rows of one vector of outputs: every row of inputs is loaded once for all of them.
template <int kSize, int kStride, int kRows>
[[gnu::always_inline]] inline void block(const Plane& p, const Taps<kSize>& taps, const Input& in, const LanesOf<kStride>* lanes,
                                         int64_t row, int64_t column) {
  const gossamer::ConvShape& s = p.shape;
  V sum[kRows];
  for (int i = 0; i < kRows; ++i) sum[i] = V::broadcast(p.bias);
#pragma GCC unroll 16
  for (int r = 0; r < (kRows - 1) * kStride + kSize; ++r) {
    const int64_t at = row * kStride - s.pad_top + r;
    const float* from = (at >= 0 && at < s.in_h ? in.x + at * s.in_w : in.zeros) + column * kStride - s.pad_left;
#pragma GCC unroll 16
    for (int v = 0; v < kSize; ++v) {
      const V x = load_lanes<kStride>(from + v, lanes[v]);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const int u = r - i * kStride;
        if (u >= 0 && u < kSize) sum[i] = fma(taps[u * kSize + v], x, sum[i]);
      }
    }
  }
  const int n = static_cast<int>(s.out_w - column < V::kLanes ? s.out_w - column : V::kLanes);
  for (int i = 0; i < kRows; ++i) finish(p, sum[i], (row + i) * s.out_w + column, n);
}

template <int kSize, int kStride, int kRows>
[[gnu::always_inline]] inline void row_of_blocks(const Plane& p, const Taps<kSize>& taps, const Input& in, int64_t row) {
  for (int64_t column = 0; column < p.shape.out_w; column += V::kLanes) {
    LanesOf<kStride> lanes[kSize];
    for (int v = 0; v < kSize; ++v) lanes[v] = lanes_inside<kStride>(column, v - p.shape.pad_left, p.shape.in_w);
    block<kSize, kStride, kRows>(p, taps, in, lanes, row, column);
  }
}

template <int kSize, int kStride>
void plane_of_known_size(const Plane& p, const Input& in) {
  const Taps<kSize> taps(p.weights);
  int64_t row = 0;
  for (; row + kMostRows <= p.shape.out_h; row += kMostRows) row_of_blocks<kSize, kStride, kMostRows>(p, taps, in, row);
  for (; row + 2 <= p.shape.out_h; row += 2) row_of_blocks<kSize, kStride, 2>(p, taps, in, row);
  for (; row < p.shape.out_h; ++row) row_of_blocks<kSize, kStride, 1>(p, taps, in, row);
}

using PlaneFunction = void (*)(const Plane&, const Input&);

template <int kStride>
PlaneFunction plane_function(int64_t size) {
  if (size == 3) return plane_of_known_size<3, kStride>;
  if (size == 5) return plane_of_known_size<5, kStride>;
  return size == 7 ? plane_of_known_size<7, kStride> : nullptr;
}

// Null: none for this shape.
PlaneFunction plane_function(const gossamer::ConvShape& s) {
  if (s.dilation_h != 1 || s.dilation_w != 1 || s.kernel_h != s.kernel_w || s.stride_h != s.stride_w) return nullptr;
  return s.stride_h == 1 ? plane_function<1>(s.kernel_h) : s.stride_h == 2 ? plane_function<2>(s.kernel_h) : nullptr;
}

// --- kernels of any size: from a band of rows in scratch memory ----------------------------------------------------------

struct Band {
  const float* rows;
  int64_t pitch;
  const int64_t* taps;  // of each kernel column: where its first input lies in a row
  int64_t first, count;  // rows of outputs
};

// kVectors vectors of one row of outputs, a kernel of any size.
template <int kVectors>
inline void any_block(const Plane& p, const Band& band, int64_t row, int64_t column) {
  V sum[kVectors];
  for (int j = 0; j < kVectors; ++j) sum[j] = V::broadcast(p.bias);
  const float* w = p.weights;
  const gossamer::ConvShape& s = p.shape;
  for (int64_t u = 0; u < s.kernel_h; ++u) {
    const float* in = band.rows + ((row - band.first) * s.stride_h + u * s.dilation_h) * band.pitch + column;
    for (int64_t v = 0; v < s.kernel_w; ++v, ++w) {
      const V scalar = V::broadcast(*w);
      for (int j = 0; j < kVectors; ++j) sum[j] = fma(scalar, V::load(in + band.taps[v] + j * V::kLanes), sum[j]);
    }
  }
  for (int j = 0; j < kVectors; ++j) {
    const int64_t at = column + j * V::kLanes;
    finish(p, sum[j], row * s.out_w + at, static_cast<int>(s.out_w - at < V::kLanes ? s.out_w - at : V::kLanes));
  }
}

void rows_of_any_size(const Plane& p, const Band& band) {
  constexpr int kVectors = 6;  // independent sums that hide the latency of an addition
  for (int64_t row = band.first; row < band.first + band.count; ++row) {
    int64_t column = 0;
    for (; column + (kVectors - 1) * V::kLanes < p.shape.out_w; column += kVectors * V::kLanes) {
      any_block<kVectors>(p, band, row, column);
    }
    for (; column + V::kLanes < p.shape.out_w; column += 2 * V::kLanes) any_block<2>(p, band, row, column);
    for (; column < p.shape.out_w; column += V::kLanes) any_block<1>(p, band, row, column);
  }
}

// to[t] = from[t stride], t in [0, n).
inline void copy_strided(const float* from, int64_t stride, int64_t n, float* to) {
  int64_t t = 0;
  if (stride <= 2) {
    for (; t < n; t += V::kLanes) {
      const int left = static_cast<int>(n - t < V::kLanes ? n - t : V::kLanes);
      const bool whole = left == V::kLanes;
      const float* p = from + t * stride;
      const V x = stride == 1 ? (whole ? V::load(p) : V::load(p, left)) : (whole ? V::load_even(p) : V::load_even(p, left));
      if (whole) x.store(to + t);
      else x.store(to + t, left);
    }
    return;
  }
  for (; t < n; ++t) to[t] = from[t * stride];
}

// The rows of inputs of a band, into their phases; columns of the border are zero already.
void copy_band(const gossamer::ConvShape& s, const gossamer::DepthwiseBand& band, const float* x, int64_t first, float* to) {
  for (int64_t phase = 0; phase < band.phases; ++phase, to += band.phase_width) {
    const int64_t start = s.pad_left > phase ? (s.pad_left - phase + s.stride_w - 1) / s.stride_w : 0;
    const int64_t column = start * s.stride_w + phase - s.pad_left;
    const int64_t there = column < s.in_w ? (s.in_w - column + s.stride_w - 1) / s.stride_w : 0;
    const int64_t room = band.phase_width - start, count = there < room ? there : room;
    for (int64_t r = 0; r < band.in_rows; ++r) {
      const int64_t row = first * s.stride_h - s.pad_top + r;
      float* at = to + r * band.pitch() + start;
      if (row >= 0 && row < s.in_h) copy_strided(x + row * s.in_w + column, s.stride_w, count, at);
      else for (int64_t t = 0; t < count; ++t) at[t] = 0;
    }
  }
}

// How a call sees its arguments, one plane of outputs at a time.
struct Planes {
  const gossamer::ConvArgs& a;
  Plane of(int64_t input, int64_t m) const {
    const gossamer::ConvShape& s = a.shape;
    const int64_t o = input % s.groups * s.rows() + m, at = (input * s.rows() + m) * s.pixels();
    return {s, a.weights + o * s.kernel_h * s.kernel_w, a.bias ? a.bias[o] : 0.0f, a.low, a.high,
            a.residual ? a.residual + at : nullptr, a.y + at};
  }
};

void depthwise_by_bands(const gossamer::ConvArgs& a) {
  const gossamer::ConvShape& s = a.shape;
  const gossamer::DepthwiseBand band = gossamer::depthwise_band(s, V::kLanes);
  int64_t taps[gossamer::kDepthwiseWidest];
  for (int64_t v = 0; v < s.kernel_w; ++v) {
    taps[v] = v * s.dilation_w % s.stride_w * band.phase_width + v * s.dilation_w / s.stride_w;
  }
  for (int64_t t = 0; t < band.in_rows * band.pitch(); ++t) a.scratch[t] = 0;
  for (int64_t input = a.task_begin; input < a.task_end; ++input) {
    for (int64_t first = 0; first < s.out_h; first += band.out_rows) {
      copy_band(s, band, a.x + input * s.in_h * s.in_w, first, a.scratch);
      const int64_t count = s.out_h - first < band.out_rows ? s.out_h - first : band.out_rows;
      for (int64_t m = 0; m < s.rows(); ++m) rows_of_any_size(Planes{a}.of(input, m), {a.scratch, band.pitch(), taps, first, count});
    }
  }
}

void depthwise(const gossamer::ConvArgs& a) {
  const gossamer::ConvShape& s = a.shape;
  const PlaneFunction run = plane_function(s);
  if (!run) return depthwise_by_bands(a);
  for (int64_t t = 0; t < s.in_w; ++t) a.scratch[t] = 0;
  for (int64_t input = a.task_begin; input < a.task_end; ++input) {
    for (int64_t m = 0; m < s.rows(); ++m) run(Planes{a}.of(input, m), {a.x + input * s.in_h * s.in_w, a.scratch});
  }
}

}  // namespace
