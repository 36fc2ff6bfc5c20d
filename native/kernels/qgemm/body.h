// Included once per instruction set, after simd/*_int.h, with kTile defined.
#pragma once

#include "kernels/qgemm/edge.h"
#include "kernels/qgemm/qgemm.h"
#include "kernels/simd/unrolled.h"

namespace {

constexpr int64_t kWidth = kTile.width;
constexpr int kAllVectors = kTile.width / I::kLanes;

// How many independent sums a tile of so many vectors splits each of its own into: about eight cover the latency of a dot
// product, two of which may start in a cycle.
constexpr int split_of(int vectors) { return vectors >= 8 ? 1 : vectors >= 4 ? 2 : vectors >= 2 ? 4 : 8; }

// Weights that the next panel begins with: `step` bytes of them for each cell of this one come to the second cache level. In a
// large network they lie far away, and the processor foresees too few of them.
struct Ahead {
  const int8_t* from;
  int64_t step;
  void fetch(int64_t cell) const { __builtin_prefetch(from + cell * step, 0, 2); }
};

// Fewer rows read each panel once, and nothing but weights: the processor foresees them, and one load more costs time.
constexpr int kWorthAhead = 4;

// Sums of kRows pixels by kVectors vectors of channels, into sum[kRows][kWidth].
template <int kRows, int kVectors>
void tile(const gossamer::QgemmArgs& g, int64_t pixel, const int8_t* b, int32_t* sums, Ahead ahead) {
  constexpr int kSplit = split_of(kRows * kVectors);
  const uint8_t* row[kRows];
  for (int i = 0; i < kRows; ++i) row[i] = g.a + g.pixel_offset[pixel + i];
  I sum[kSplit][kRows][kVectors];
  unrolled<kSplit * kRows * kVectors>([&](auto i) __attribute__((always_inline)) { sum[i / (kRows * kVectors)][i / kVectors % kRows][i % kVectors] = I::zero(); });
  const auto step = [&](auto s, int64_t cell) __attribute__((always_inline)) {
    const int64_t offset = g.cell_offset[cell];
    if constexpr (kRows >= kWorthAhead) ahead.fetch(cell);
    Weights w[kVectors];
    unrolled<kVectors>([&](auto j) __attribute__((always_inline)) { w[j] = Weights::load(b + (cell * kWidth + j * I::kLanes) * 4); });
    unrolled<kRows>([&](auto i) __attribute__((always_inline)) {
      const Cell x = Cell::load(row[i] + offset);
      unrolled<kVectors>([&](auto j) __attribute__((always_inline)) { sum[s][i][j] = dot(sum[s][i][j], x, w[j]); });
    });
  };
  int64_t cell = 0;
  for (; cell + kSplit <= g.cells; cell += kSplit) {
    unrolled<kSplit>([&](auto s) __attribute__((always_inline)) { step(s, cell + s); });
  }
  for (; cell < g.cells; ++cell) step(Index<0>{}, cell);
  unrolled<kRows * kVectors>([&](auto at) __attribute__((always_inline)) {
    constexpr int i = at / kVectors, j = at % kVectors;
    unrolled<kSplit - 1>([&](auto s) __attribute__((always_inline)) { sum[0][i][j] = sum[0][i][j] + sum[s + 1][i][j]; });
    sum[0][i][j].store(sums + i * kWidth + j * I::kLanes);
  });
}

// The tile function for a number of rows known at run time, 1 .. kTile.rows.
template <int kVectors>
struct Tiles {
  void (*of[kTile.rows + 1])(const gossamer::QgemmArgs&, int64_t, const int8_t*, int32_t*, Ahead);
  constexpr Tiles() : of{} { fill<kTile.rows>(); }
  template <int kRows>
  constexpr void fill() {
    of[kRows] = tile<kRows, kVectors>;
    if constexpr (kRows > 1) fill<kRows - 1>();
  }
};

void tile_to_memory(const gossamer::QgemmArgs& g, int64_t panel, int64_t pixel, int rows, Ahead ahead) {
  static constexpr Tiles<kAllVectors> whole;
  static constexpr Tiles<1> narrow;
  alignas(64) int32_t sums[kTile.rows * kWidth];
  const int64_t channel = panel * kWidth, left = g.n - channel;
  const int8_t* b = g.b + channel * g.cells * 4;
  (left <= I::kLanes ? narrow.of : whole.of)[rows](g, pixel, b, sums, ahead);
  for (int64_t c = 0; c < kWidth && c < left; c += I::kLanes) {
    const int count = static_cast<int>(left - c < I::kLanes ? left - c : I::kLanes);
    tile_edge(g, {sums + c, kWidth, rows, channel + c, pixel * g.y_pixel + (channel + c) / 4 * g.y_cell, {g.y_cell, count}});
  }
}

void qgemm(const gossamer::QgemmArgs& g) {
  const int64_t height = gossamer::tile_height(g.m, kTile.rows);
  for (int64_t panel = g.panel_begin; panel < g.panel_end; ++panel) {
    const int64_t turns = g.tile_end - g.tile_begin, step = (kWidth * 4 + turns - 1) / turns;
    const int8_t* next = g.b + (panel + 1 < g.panel_end ? panel + 1 : panel) * kWidth * g.cells * 4;
    for (int64_t t = g.tile_begin; t < g.tile_end; ++t, next += step * g.cells) {
      const int64_t pixel = t * height;
      tile_to_memory(g, panel, pixel, static_cast<int>(g.m - pixel < height ? g.m - pixel : height), {next, step});
    }
  }
}

}  // namespace
