// One tile of C in registers: kRows x (kVectors V::kLanes). Included once per instruction set, after simd/*.h.
#pragma once

#include <cstdint>

#include "kernels/simd/unrolled.h"

#include "kernels/simd/clamp.h"

namespace {

// What surrounds the inner product of a tile. The first block of k starts from bias and residual, later ones from what
// C holds; the last one clamps. (Residual first, so that C may be the residual's own memory.)
struct TileEdge {
  const float* row_bias;
  const float* column_bias;
  const float* residual;
  bool first, last;
  float low, high;
};

template <int kRows, int kVectors>
inline void tile_start(V (&sum)[kRows][kVectors], const float* c, int64_t c_stride, int columns, const TileEdge& edge) {
  const float* from = edge.first ? edge.residual : c;
  unrolled<kRows>([&](auto i) __attribute__((always_inline)) {
    const V bias = V::broadcast(edge.first && edge.row_bias ? edge.row_bias[i] : 0.0f);
    unrolled<kVectors>([&](auto j) __attribute__((always_inline)) {
      const int at = j * V::kLanes;
      const int left = columns - at < 0 ? 0 : columns - at;
      const bool whole = left >= V::kLanes;
      sum[i][j] = bias;
      if (from) {
        const float* p = from + i * c_stride + at;
        sum[i][j] = sum[i][j] + (whole ? V::load(p) : left ? V::load(p, left) : V::zero());
      }
      if (edge.first && edge.column_bias && left) {
        const float* p = edge.column_bias + at;
        sum[i][j] = sum[i][j] + (whole ? V::load(p) : V::load(p, left));
      }
    });
  });
}

template <int kRows, int kVectors>
inline void tile_finish(const V (&sum)[kRows][kVectors], float* c, int64_t c_stride, int columns, const TileEdge& edge) {
  const V low = V::broadcast(edge.low), high = V::broadcast(edge.high);
  unrolled<kRows>([&](auto i) __attribute__((always_inline)) {
    unrolled<kVectors>([&](auto j) __attribute__((always_inline)) {
      const int at = j * V::kLanes, left = columns - at;
      const V x = edge.last ? clamp(sum[i][j], low, high) : sum[i][j];
      float* p = c + i * c_stride + at;
      if (left >= V::kLanes) x.store(p);
      else if (left > 0) x.store(p, left);
    });
  });
}

// The right factor of a tile, panels of `width` columns: moved(...) skips elements, at(...) is the vector of row p
// that begins at `column`; multiply(...) adds a product of elements; tiles of many rows call follow(p), which may ask for
// what comes next.
struct DenseRight {
  const float* b;
  DenseRight moved(int64_t elements) const { return {b + elements}; }
  void follow(int64_t) const {}
  V at(int64_t p, int64_t width, int64_t column) const { return V::load(b + p * width + column); }
  static V multiply(V a, V b, V sum) { return fma(a, b, sum); }
};

// A(i, p) = a[i a_row + p a_k]; kPackedRows: a_row is 1 and known to the compiler.
template <int kRows, int kVectors, bool kPackedRows, class Right>
void tile(int64_t k, const float* a, int64_t a_row, int64_t a_k, const Right& right, float* c, int64_t c_stride,
          int columns, const TileEdge& edge) {
  // Few rows give few independent sums; a fused multiply-add takes 4 cycles and two start in each, so split k.
  constexpr int kSplit = kRows == 1 ? 4 : kRows <= 3 ? 2 : 1;
  constexpr int kWidth = kVectors * V::kLanes;
  V sum[kSplit][kRows][kVectors];
  tile_start<kRows, kVectors>(sum[0], c, c_stride, columns, edge);
  unrolled<(kSplit - 1) * kRows * kVectors>([&](auto i) __attribute__((always_inline)) {
    sum[1 + i / (kRows * kVectors)][i / kVectors % kRows][i % kVectors] = V::zero();
  });
  const int64_t stride = kPackedRows ? 1 : a_row;
  const auto step = [&](auto s, int64_t p) __attribute__((always_inline)) {
    if constexpr (kRows >= 4) right.follow(p);
    V vector[kVectors];
    unrolled<kVectors>([&](auto j) __attribute__((always_inline)) { vector[j] = right.at(p, kWidth, j * V::kLanes); });
    unrolled<kRows>([&](auto i) __attribute__((always_inline)) {
      const V scalar = V::broadcast(a[p * a_k + i * stride]);
      unrolled<kVectors>([&](auto j) __attribute__((always_inline)) { sum[s][i][j] = Right::multiply(scalar, vector[j], sum[s][i][j]); });
    });
  };
  int64_t p = 0;
  for (; p + kSplit <= k; p += kSplit) {
    unrolled<kSplit>([&](auto s) __attribute__((always_inline)) { step(s, p + s); });
  }
  for (; p < k; ++p) step(Index<0>{}, p);
  unrolled<(kSplit - 1) * kRows * kVectors>([&](auto at) __attribute__((always_inline)) {
    constexpr int s = 1 + at / (kRows * kVectors), i = at / kVectors % kRows, j = at % kVectors;
    sum[0][i][j] = sum[0][i][j] + sum[s][i][j];
  });
  tile_finish<kRows, kVectors>(sum[0], c, c_stride, columns, edge);
}

// The tile function for a number of rows known at run time, 1 .. kMaxRows.
template <int kMaxRows, int kVectors, bool kPackedRows, class Right>
struct Tiles {
  using Function = void (*)(int64_t, const float*, int64_t, int64_t, const Right&, float*, int64_t, int,
                            const TileEdge&);
  Function of[kMaxRows + 1];
  constexpr Tiles() : of{} { fill<kMaxRows>(); }
  template <int kRows>
  constexpr void fill() {
    of[kRows] = tile<kRows, kVectors, kPackedRows, Right>;
    if constexpr (kRows > 1) fill<kRows - 1>();
  }
};

}  // namespace
