// What becomes of a tile's sums. Included once per instruction set, after simd/*_int.h.
#pragma once

#include "kernels/qgemm/qgemm.h"

namespace {

using gossamer::QgemmEdge;
using gossamer::QgemmOutput;

// Up to kLanes channels of one pixel, in memory where every four channels lie `cell` elements after the four before.
struct Channels {
  int64_t cell;
  int count;

  bool together() const { return cell == 4 && count == I::kLanes; }
  template <class T>
  void copy_in(const T* from, T* to) const {
    for (int i = 0; i < count; ++i) to[i] = from[i / 4 * cell + i % 4];
  }
  template <class T>
  void copy_out(const T* from, T* to) const {
    for (int i = 0; i < count; ++i) to[i / 4 * cell + i % 4] = from[i];
  }
};

inline void store_whole(I x, int32_t* p, const Channels& where) {
  if (where.together()) return x.store(p);
  int32_t lanes[I::kLanes];
  x.store(lanes);
  where.copy_out(lanes, p);
}

inline void store_bytes(I x, uint8_t* p, const Channels& where) {
  if (where.together()) return x.store_bytes(p);
  uint8_t lanes[I::kLanes];
  x.store_bytes(lanes);
  if (where.count < I::kLanes) return where.copy_out(lanes, p);
  for (int i = 0; i < I::kLanes; i += 4) std::memcpy(p + i / 4 * where.cell, lanes + i, 4);
}

inline void store_floats(V x, float* p, const Channels& where) {
  if (where.together()) return x.store(p);
  float lanes[V::kLanes];
  x.store(lanes);
  where.copy_out(lanes, p);
}

inline V load_floats(const float* p, const Channels& where) {
  if (where.together()) return V::load(p);
  float lanes[V::kLanes] = {};
  where.copy_in(p, lanes);
  return V::load(lanes);
}

inline I load_bytes(const uint8_t* p, bool is_signed, const Channels& where) {
  if (where.together()) return I::load_bytes(p, is_signed);
  uint8_t lanes[I::kLanes] = {};
  if (where.count < I::kLanes) where.copy_in(p, lanes);
  else for (int i = 0; i < I::kLanes; i += 4) std::memcpy(lanes + i, p + i / 4 * where.cell, 4);
  return I::load_bytes(lanes, is_signed);
}

template <class Vector, class T>
inline Vector per_channel(const T* p, int64_t channel, int count) {
  if (!p) return Vector::zero();
  return count == Vector::kLanes ? Vector::load(p + channel) : Vector::load(p + channel, count);
}

// One vector of channels, all rows of a tile: sums at sum[row * width].
struct TileColumn {
  const int32_t* sum;
  int64_t width;
  int rows;
  int64_t channel;
  int64_t at;  // of the first row's first element in y
  Channels where;
};

inline void edge_sums(const gossamer::QgemmArgs& g, const TileColumn& t, I bias) {
  for (int i = 0; i < t.rows; ++i) {
    store_whole(I::load(t.sum + i * t.width) + bias, static_cast<int32_t*>(g.y) + t.at + i * g.y_pixel, t.where);
  }
}

inline void edge_floats(const gossamer::QgemmArgs& g, const TileColumn& t, I bias) {
  const QgemmEdge& e = g.edge;
  const V scale = per_channel<V>(e.scale, t.channel, t.where.count), shift = per_channel<V>(e.shift, t.channel, t.where.count);
  const V low = V::broadcast(e.low), high = V::broadcast(e.high);
  for (int i = 0; i < t.rows; ++i) {
    const int64_t at = t.at + i * g.y_pixel;
    V x = fused(to_float(I::load(t.sum + i * t.width) + bias), scale, shift);
    if (e.residual) x = x + load_floats(static_cast<const float*>(e.residual) + at, t.where);
    store_floats(min_or_b(high, max_or_b(low, x)), static_cast<float*>(g.y) + at, t.where);
  }
}

inline V with_residual(const QgemmEdge& e, V x, I residual) {
  const V q = fused(to_float(residual), V::broadcast(e.residual_scale), V::broadcast(e.residual_shift));
  if (e.rounds_mid) x = min_or_b(V::broadcast(e.mid_high), max_or_b(V::broadcast(e.mid_low), round(x)));
  return fused(x, V::broadcast(e.keep), q);
}

inline void edge_bytes(const gossamer::QgemmArgs& g, const TileColumn& t, I bias) {
  const QgemmEdge& e = g.edge;
  const V scale = per_channel<V>(e.scale, t.channel, t.where.count), shift = per_channel<V>(e.shift, t.channel, t.where.count);
  const V low = V::broadcast(static_cast<float>(e.least - e.zero)), high = V::broadcast(static_cast<float>(e.most - e.zero));
  const I zero = I::broadcast(e.zero);
  for (int i = 0; i < t.rows; ++i) {
    const int64_t at = t.at + i * g.y_pixel;
    V x = fused(to_float(I::load(t.sum + i * t.width) + bias), scale, shift);
    if (e.residual) x = with_residual(e, x, load_bytes(static_cast<const uint8_t*>(e.residual) + at, e.residual_signed, t.where));
    // Whole bounds: clamping before rounding is clamping after it, and no conversion overflows. NaN becomes `low`.
    store_bytes(nearest(min_or_b(max_or_b(x, low), high)) + zero, static_cast<uint8_t*>(g.y) + at, t.where);
  }
}

inline void edge_fixed_point(const gossamer::QgemmArgs& g, const TileColumn& t, I bias) {
  const QgemmEdge& e = g.edge;
  const I multiplier = per_channel<I>(e.multiplier, t.channel, t.where.count), right_shift = per_channel<I>(e.right_shift, t.channel, t.where.count);
  const I least = I::broadcast(e.least - e.zero), most = I::broadcast(e.most - e.zero), zero = I::broadcast(e.zero);
  for (int i = 0; i < t.rows; ++i) {
    const I x = fixed_point(I::load(t.sum + i * t.width) + bias, multiplier, right_shift);
    store_bytes(min(max(x, least), most) + zero, static_cast<uint8_t*>(g.y) + t.at + i * g.y_pixel, t.where);
  }
}

void tile_edge(const gossamer::QgemmArgs& g, const TileColumn& t) {
  const I bias = per_channel<I>(g.edge.bias, t.channel, t.where.count);
  switch (g.edge.output) {
    case QgemmOutput::sums: return edge_sums(g, t, bias);
    case QgemmOutput::floats: return edge_floats(g, t, bias);
    case QgemmOutput::bytes: return edge_bytes(g, t, bias);
    case QgemmOutput::fixed_point: return edge_fixed_point(g, t, bias);
  }
}

}  // namespace
