// The product of words of signs. Included once per instruction set, after simd/*_int.h, with kTile defined, and
//   Words: a vector of words;  differing(a, b), differing(a, b, mask)
//   Counts: kMostSteps times counted(counts, words) adds the bits of each word; widened(counts): as 32-bit integers
#pragma once

#include "kernels/xnor/xnor.h"
#include "kernels/simd/clamp.h"
#include "kernels/simd/unrolled.h"

namespace {

constexpr int64_t kPanelsBytes = 128 << 10;  // of the second cache
constexpr int kWidth = kTile.width, kVectors = kWidth / V::kLanes;

template <int kRows>
inline void finish_tile(const gossamer::XnorArgs& g, const I (&sum)[kRows][kVectors], int64_t row, int64_t column) {
  const V low = V::broadcast(g.low), high = V::broadcast(g.high);
  unrolled<kRows>([&](auto i) __attribute__((always_inline)) {
    unrolled<kVectors>([&](auto j) __attribute__((always_inline)) {
      const int64_t at = column + j * V::kLanes, left = g.n - at;
      if (left <= 0) return;
      const int lanes = static_cast<int>(left < V::kLanes ? left : V::kLanes);
      const auto from = [&](const float* p) __attribute__((always_inline)) { return lanes == V::kLanes ? V::load(p) : V::load(p, lanes); };
      const V scale = g.row_scale ? V::broadcast(g.row_scale[row + i]) : from(g.column_scale + at);
      const V bias = g.row_bias ? V::broadcast(g.row_bias[row + i]) : g.column_bias ? from(g.column_bias + at) : V::zero();
      const I twice = sum[i][j] + sum[i][j];
      V y = fused(to_float(minus(I::load(g.bits + at), twice)), scale, bias);
      const int64_t place = (row + i) * g.c_stride + at;
      if (g.residual) y = y + from(g.residual + place);
      y = clamp(y, low, high);
      if (lanes == V::kLanes) y.store(g.c + place);
      else y.store(g.c + place, lanes);
    });
  });
}

template <int kRows, bool kMasked>
void xnor_tile(const gossamer::XnorArgs& g, int64_t row, int64_t panel) {
  I sum[kRows][kVectors];
  unrolled<kRows * kVectors>([&](auto i) __attribute__((always_inline)) { sum[i / kVectors][i % kVectors] = I::zero(); });
  const int32_t *a = g.a + row * g.words, *b = g.b + panel * g.words * kWidth, *mask = g.mask + (kMasked ? panel * g.words * kWidth : 0);
  for (int64_t begin = 0; begin < g.words; begin += kMostSteps) {
    const int64_t end = g.words - begin < kMostSteps ? g.words : begin + kMostSteps;
    I counts[kRows][kVectors];
    unrolled<kRows * kVectors>([&](auto i) __attribute__((always_inline)) { counts[i / kVectors][i % kVectors] = I::zero(); });
    for (int64_t w = begin; w < end; ++w) {
      I right[kVectors], counted_bits[kVectors];
      unrolled<kVectors>([&](auto j) __attribute__((always_inline)) {
        right[j] = I::load(b + w * kWidth + j * V::kLanes);
        if constexpr (kMasked) counted_bits[j] = I::load(mask + w * kWidth + j * V::kLanes);
      });
      unrolled<kRows>([&](auto i) __attribute__((always_inline)) {
        const I left = I::broadcast(a[i * g.words + w]);
        unrolled<kVectors>([&](auto j) __attribute__((always_inline)) {
          if constexpr (kMasked) counts[i][j] = counted(counts[i][j], differing(left, right[j], counted_bits[j]));
          else counts[i][j] = counted(counts[i][j], differing(left, right[j]));
        });
      });
    }
    unrolled<kRows * kVectors>([&](auto i) __attribute__((always_inline)) {
      sum[i / kVectors][i % kVectors] = sum[i / kVectors][i % kVectors] + widened(counts[i / kVectors][i % kVectors]);
    });
  }
  finish_tile<kRows>(g, sum, row, panel * kWidth);
}

template <bool kMasked>
struct XnorTiles {
  void (*of[kTile.rows + 1])(const gossamer::XnorArgs&, int64_t, int64_t);
  constexpr XnorTiles() : of{} { fill<kTile.rows>(); }
  template <int kRows>
  constexpr void fill() {
    of[kRows] = xnor_tile<kRows, kMasked>;
    if constexpr (kRows > 1) fill<kRows - 1>();
  }
};

void xnor_product(const gossamer::XnorArgs& g) {
  static constexpr XnorTiles<false> plain;
  static constexpr XnorTiles<true> masked;
  const int64_t height = gossamer::tile_height(g.m, kTile.rows);
  // Several panels together while all rows pass: what a tile writes lies in few pages, and the rows come but once for all of them.
  const int64_t panel_bytes = g.words * kWidth * 4, together = panel_bytes > 0 && panel_bytes < kPanelsBytes ? kPanelsBytes / panel_bytes : 1;
  for (int64_t first = g.panel_begin; first < g.panel_end; first += together) {
    const int64_t last = g.panel_end - first < together ? g.panel_end : first + together;
    for (int64_t tile = g.tile_begin; tile < g.tile_end; ++tile) {
      const int64_t row = tile * height, rows = g.m - row < height ? g.m - row : height;
      for (int64_t panel = first; panel < last; ++panel) (g.mask ? masked.of : plain.of)[rows](g, row, panel);
    }
  }
}

}  // namespace
