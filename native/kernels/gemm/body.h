// The driver of a matrix product. Included once per instruction set, after simd/*.h, with kTile defined.
#pragma once

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/tile.h"

namespace {

constexpr int64_t kWidth = kTile.width;
// So many rows of a panel stay in the second cache level while all rows of A pass over them. Fewer would fit the first one,
// but then each tile of C is read and written more often, which costs more.
constexpr int64_t kBlock = gossamer::kDecodedFloats / kWidth;
constexpr int64_t kOnceBlock = 4096 / kWidth;  // of codes that are decoded for one tile: in the first level

// A panel whose successor comes to the second cache level meanwhile, `step` floats of it with each of its own rows.
template <class Right>
struct Followed : Right {
  const float* next;
  int64_t step;
  void follow(int64_t p) const { __builtin_prefetch(next + p * step, 0, 2); }
};

template <class Right>
void product(const gossamer::GemmArgs& g, const Right& b) {
  static constexpr Tiles<kTile.rows, kTile.width / V::kLanes, false, Followed<Right>> tiles;
  const int64_t height = gossamer::tile_height(g.m, kTile.rows);
  // A panel that is read once needs no blocking.
  const int64_t block = g.m > kTile.rows ? kBlock : g.coded ? kOnceBlock : g.k;
  for (int64_t p0 = 0; p0 == 0 || p0 < g.k; p0 += block) {
    const int64_t depth = g.k - p0 < block ? g.k - p0 : block;
    const bool last = p0 + depth >= g.k;
    for (int64_t panel = g.panel_begin; panel < g.panel_end; ++panel) {
      const int64_t column = panel * kWidth, left = g.n - column;
      const int columns = static_cast<int>(left < kWidth ? left : kWidth);
      if (g.coded) g.coded->decode(*g.coded, panel, p0, depth, kWidth, g.decoded);
      const Right right = g.coded ? Right{g.decoded} : b.moved((panel * g.k + p0) * kWidth);
      const int64_t turns = g.tile_end - g.tile_begin, step = (kWidth + turns - 1) / turns;
      const float* next = (panel + 1 < g.panel_end && !g.coded ? right.moved(kWidth * g.k) : right).b;
      for (int64_t tile = g.tile_begin; tile < g.tile_end; ++tile, next += step * depth) {
        const int64_t row = tile * height;
        const int64_t rows = g.m - row < height ? g.m - row : height;
        const int64_t at = row * g.c_stride + column;
        const TileEdge edge{g.row_bias ? g.row_bias + row : nullptr, g.column_bias ? g.column_bias + column : nullptr,
                            g.residual ? g.residual + at : nullptr, p0 == 0, last, g.low, g.high};
        tiles.of[rows](depth, g.a + row * g.a_row + p0 * g.a_k, g.a_row, g.a_k, {right, next, step}, g.c + at, g.c_stride, columns,
                       edge);
      }
    }
    if (last) break;
  }
}

}  // namespace
