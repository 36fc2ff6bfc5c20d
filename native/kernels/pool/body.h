// Included once per instruction set, after simd/*.h. A row of windows is first combined down its columns, into one padded
// row, then along that row.
#pragma once

#include "kernels/pool/pool.h"

namespace {

struct Maximum {
  static float empty() { return -__builtin_inff(); }
  static V join(V a, V b) { return if_nan(a, a, max_or_b(a, b)); }
  static float join(float a, float b) { return a != a || a > b ? a : b; }
};

struct Sum {
  static float empty() { return 0.0f; }
  static V join(V a, V b) { return a + b; }
  static float join(float a, float b) { return a + b; }
};

// How many of kernel positions start, start + dilation ... lie in [low, high).
inline int64_t positions_inside(int64_t start, int64_t kernel, int64_t dilation, int64_t low, int64_t high) {
  int64_t count = 0;
  for (int64_t u = 0; u < kernel; ++u) {
    const int64_t at = start + u * dilation;
    if (at >= low && at < high) ++count;
  }
  return count;
}

template <class Join>
void join_rows(const gossamer::PoolArgs& a, const float* x, int64_t top, float* row) {
  const V empty = V::broadcast(Join::empty());
  for (int64_t column = 0; column < a.in_w; column += V::kLanes) {
    const int n = static_cast<int>(a.in_w - column < V::kLanes ? a.in_w - column : V::kLanes);
    V result = empty;
    for (int64_t u = 0; u < a.kernel_h; ++u) {
      const int64_t at = top + u * a.dilation_h;
      if (at < 0 || at >= a.in_h) continue;
      const float* p = x + at * a.in_w + column;
      result = Join::join(result, n == V::kLanes ? V::load(p) : V::load(p, n));
    }
    result.store(row + a.pad_left + column, n);
  }
}

template <class Join>
void join_columns(const gossamer::PoolArgs& a, const float* row, float* y) {
  int64_t j = 0;
  if (a.stride_w <= 2) {
    for (; j + V::kLanes <= a.out_w; j += V::kLanes) {
      V result = V::broadcast(Join::empty());
      for (int64_t v = 0; v < a.kernel_w; ++v) {
        const float* p = row + j * a.stride_w + v * a.dilation_w;
        result = Join::join(result, a.stride_w == 1 ? V::load(p) : V::load_even(p));
      }
      result.store(y + j);
    }
  }
  for (; j < a.out_w; ++j) {
    float result = Join::empty();
    for (int64_t v = 0; v < a.kernel_w; ++v) result = Join::join(result, row[j * a.stride_w + v * a.dilation_w]);
    y[j] = result;
  }
}

inline void divide(const gossamer::PoolArgs& a, int64_t top, const float* widths, float* y) {
  const int64_t low = a.count_padding ? -a.pad_top : 0, high = a.in_h + (a.count_padding ? a.pad_bottom : 0);
  const float height = static_cast<float>(positions_inside(top, a.kernel_h, a.dilation_h, low, high));
  for (int64_t j = 0; j < a.out_w; ++j) y[j] /= height * widths[j];
}

template <class Join>
void pool_planes(const gossamer::PoolArgs& a) {
  const int64_t padded = gossamer::pool_scratch(a) - a.out_w;
  float* row = a.scratch;
  float* widths = a.scratch + padded;
  for (int64_t i = 0; i < padded; ++i) row[i] = Join::empty();
  const int64_t low = a.count_padding ? -a.pad_left : 0, high = a.in_w + (a.count_padding ? a.pad_right : 0);
  for (int64_t j = 0; j < a.out_w; ++j) {
    const int64_t start = j * a.stride_w - a.pad_left;
    widths[j] = static_cast<float>(positions_inside(start, a.kernel_w, a.dilation_w, low, high));
  }
  for (int64_t p = a.plane_begin; p < a.plane_end; ++p) {
    for (int64_t i = 0; i < a.out_h; ++i) {
      float* y = a.y + (p * a.out_h + i) * a.out_w;
      const int64_t top = i * a.stride_h - a.pad_top;
      join_rows<Join>(a, a.x + p * a.in_h * a.in_w, top, row);
      join_columns<Join>(a, row, y);
      if (a.average) divide(a, top, widths, y);
    }
  }
}

void pool(const gossamer::PoolArgs& a) {
  if (a.average) pool_planes<Sum>(a);
  else pool_planes<Maximum>(a);
}

}  // namespace
