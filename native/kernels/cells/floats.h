// Cells of one float: after simd/*.h, which defines V.
#pragma once

#include "kernels/cells/cells.h"

namespace {

constexpr int kLanes = V::kLanes;
constexpr auto kRegisters = kLanes == 16 ? gossamer::CellRegisters::many : gossamer::CellRegisters::few;
struct Sum {
  using Element = float;
  V v;
  static Sum broadcast(float x) { return {V::broadcast(x)}; }
};

struct Cells {
  using Weight = V;
  static constexpr int kWeightBytes = 4;
  V x;

  static Cells load(const uint32_t* p) { return {V::load(reinterpret_cast<const float*>(p))}; }
  static V weight(const char* p) { return V::broadcast(*reinterpret_cast<const float*>(p)); }
  Sum times(V w, Sum sum) const { return {fma(x, w, sum.v)}; }
};

struct Lanes;
template <int kVectors>
void finish(const gossamer::CellConvArgs& a, int64_t row, const Lanes* lanes, const Sum (&sums)[4][kVectors]);

}  // namespace

#include "kernels/cells/body.h"

namespace {

// Writes the pixels among a vector's positions to p, one after the other.
inline void store_lanes(V x, float* p, const Lanes& lanes) {
  if (lanes.count == kLanes) return x.store(p);
  if (lanes.mask == (1u << lanes.count) - 1u) return x.store(p, lanes.count);
  x.store_chosen(p, lanes.mask);
}

inline V load_lanes(const float* p, const Lanes& lanes) {
  if (lanes.count == kLanes) return V::load(p);
  if (lanes.mask == (1u << lanes.count) - 1u) return V::load(p, lanes.count);
  return V::load_chosen(p, lanes.mask);
}

// sums[i * vectors + v]: of row i. Not inlined: it is there once for all tiles, and as fast.
[[gnu::noinline]] void finish_rows(const gossamer::CellConvArgs& a, int64_t row, const Lanes* lanes, const Sum* sums, int vectors) {
  const int64_t pixels = a.plane();
  const V low = V::broadcast(a.epilogue.low), high = V::broadcast(a.epilogue.high);
  for (int v = 0; v < vectors; ++v) {
    if (!lanes[v].count) continue;
    for (int i = 0; i < 4 && row + i < a.weights.rows; ++i) {
      const int64_t place = (row + i) * pixels + lanes[v].pixel;
      V x = sums[i * vectors + v].v;
      if (a.residual) x = x + load_lanes(static_cast<const float*>(a.residual) + place, lanes[v]);
      store_lanes(min_or_b(high, max_or_b(low, x)), static_cast<float*>(a.out) + place, lanes[v]);
    }
  }
}

template <int kVectors>
void finish(const gossamer::CellConvArgs& a, int64_t row, const Lanes* lanes, const Sum (&sums)[4][kVectors]) {
  finish_rows(a, row, lanes, &sums[0][0], kVectors);
}

}  // namespace
